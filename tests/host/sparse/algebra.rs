//! Set algebra against matrices of bools.

use proptest::prelude::*;
use wgpu_attention::problem::{BlockGrid, BlockMask};

use super::{dense, pairs};

/// A grid and two dense matrices on it. Whole blocks of one value are as likely as mixed ones.
fn matrices() -> impl Strategy<Value = (BlockGrid, Vec<bool>, Vec<bool>)> {
    let sizes = (1u32..=3, 1u32..90, 1u32..90, 1u32..=2, 1u32..=2);
    sizes.prop_flat_map(|(side, q_len, kv_len, batch, heads)| {
        let grid = BlockGrid::new(16 * side, q_len, kv_len)
            .with_batch(batch)
            .with_heads(heads);
        let blocks = grid.lists() * grid.kv_blocks() as usize;
        let matrix = (prop::collection::vec(0u8..3, blocks), any::<u64>()).prop_map(
            move |(blocks, seed)| {
                let of = |(b, h, i, j): (u32, u32, u32, u32)| {
                    let row = (b * grid.heads + h) * grid.q_blocks() + i / grid.side;
                    match blocks[(row * grid.kv_blocks() + j / grid.side) as usize] {
                        0 => false,
                        1 => true,
                        _ => (seed ^ u64::from(i * 31 + j * 17 + h)).count_ones() % 2 == 0,
                    }
                };
                pairs(&grid).map(of).collect::<Vec<_>>()
            },
        );
        (Just(grid), matrix.clone(), matrix)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sets_of_pairs((grid, a, b) in matrices()) {
        let mask = |x: &[bool]| BlockMask::from_dense(grid, x).expect("a matrix of the grid");
        let (x, y) = (mask(&a), mask(&b));
        prop_assert_eq!(dense(&x), a.clone());
        let zip = |op: fn(bool, bool) -> bool| a.iter().zip(&b).map(|(&a, &b)| op(a, b)).collect::<Vec<_>>();
        prop_assert_eq!(dense(&x.and(&y).expect("one grid")), zip(|a, b| a && b));
        prop_assert_eq!(dense(&x.or(&y).expect("one grid")), zip(|a, b| a || b));
        prop_assert_eq!(dense(&x.not()), a.iter().map(|&a| !a).collect::<Vec<_>>());
        // One form for one set, however it came to be.
        prop_assert_eq!(x.not().not(), x.clone());
        prop_assert_eq!(x.and(&x).expect("one grid"), x.clone());
        prop_assert_eq!(x.pairs(), a.iter().filter(|&&a| a).count() as u64);
        prop_assert_eq!(x.or(&x.not()).expect("one grid").density(), 1.0);
        prop_assert_eq!(x.and(&x.not()).expect("one grid").blocks().len(), 0);
    }

    #[test]
    fn transposes((grid, a, _) in matrices()) {
        let mask = BlockMask::from_dense(grid, &a).expect("a matrix of the grid");
        let transpose = mask.transpose();
        for (b, h, i, j) in pairs(&grid) {
            prop_assert_eq!(transpose.sees(b, h, j, i), mask.sees(b, h, i, j));
        }
        prop_assert_eq!(transpose.transpose(), mask);
    }
}

#[test]
fn axes_of_one_are_broadcast() {
    let of = |batch, heads| {
        BlockGrid::new(16, 20, 40)
            .with_batch(batch)
            .with_heads(heads)
    };
    let some = |grid, n: u32| {
        BlockMask::from_fn(grid, move |b, h, i, j| (b + 2 * h + i + j) % n == 0).expect("legal")
    };
    let (x, y) = (some(of(2, 1), 3), some(of(1, 3), 2));
    let both = x.and(&y).expect("broadcast");
    assert_eq!((both.grid().batch, both.grid().heads), (2, 3));
    for (b, h, i, j) in pairs(both.grid()) {
        let expected = (b + i + j) % 3 == 0 && (2 * h + i + j) % 2 == 0;
        assert_eq!(both.sees(b, h, i, j), expected);
    }
}

#[test]
fn heads_side_by_side() {
    let one = |n: u32| {
        BlockMask::from_fn(BlockGrid::new(16, 33, 33), move |_, _, i, j| {
            (i + j) % n == 0
        })
        .expect("legal")
    };
    let mask = BlockMask::from_heads(&[one(2), one(5), one(7)]).expect("one grid");
    for (b, h, i, j) in pairs(mask.grid()) {
        assert_eq!(mask.sees(b, h, i, j), (i + j) % [2, 5, 7][h as usize] == 0);
    }
}

/// A window's partial blocks repeat along the diagonal.
#[test]
fn equal_tiles_are_kept_once() {
    let grid = BlockGrid::new(32, 32 * 20, 32 * 20);
    let window = |_, _, i: u32, j: u32| i.abs_diff(j) <= 40;
    let mask = BlockMask::from_fn(grid, window).expect("legal");
    assert_eq!(mask.tiles().len(), 4, "{mask}");
    assert_eq!(mask.list(0, 0, 10).len(), 5, "{mask}");
}

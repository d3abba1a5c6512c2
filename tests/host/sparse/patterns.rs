//! Every pattern against the dense mask that its definition gives.

use wgpu_attention::problem::{BlockGrid, BlockMask, Pattern};

use super::{dense, pairs};

/// Holds a pattern against its definition by stand `d` and key `j`, on grids that are square, wide and ragged.
#[track_caller]
fn assert_shows(pattern: &Pattern, visible: impl Fn(i64, i64) -> bool) {
    for (side, q_len, kv_len) in [(16, 64, 64), (32, 50, 131), (48, 100, 100), (16, 90, 33)] {
        let grid = BlockGrid::new(side, q_len, kv_len);
        let mask = BlockMask::from_pattern(grid, pattern).expect("it fits the grid");
        let offset = i64::from(kv_len) - i64::from(q_len);
        let expected: Vec<bool> = pairs(&grid)
            .map(|(_, _, i, j)| visible(i64::from(i) + offset, i64::from(j)))
            .collect();
        assert!(dense(&mask) == expected, "{pattern} on {grid:?}: {mask}");
        let from_dense = BlockMask::from_dense(grid, &expected).expect("the grid's sizes");
        assert!(
            mask == from_dense,
            "{pattern}: full blocks not found, {mask} for {from_dense}"
        );
    }
}

#[test]
fn windows() {
    assert_shows(&Pattern::full(), |_, _| true);
    assert_shows(&Pattern::causal(), |d, j| j <= d);
    assert_shows(&Pattern::sliding_window(20, 3), |d, j| {
        d - 20 <= j && j <= d + 3
    });
    assert_shows(&Pattern::dilated_window(5, 3), |d, j| {
        (d - j).abs() <= 15 && (d - j) % 3 == 0
    });
    assert_shows(&Pattern::sinks_and_window(5, 9), |d, j| {
        j <= d && (j < 5 || j > d - 9)
    });
    assert_shows(&Pattern::prefix_lm(21), |d, j| j <= d || j < 21);
    assert_shows(&Pattern::sliding_window(20, 3).under_causal(), |d, j| {
        d - 20 <= j && j <= d
    });
}

#[test]
fn sparse_transformers() {
    assert_shows(&Pattern::strided(7), |d, j| {
        j <= d && (d - j <= 7 || (d - j) % 7 == 0)
    });
    assert_shows(&Pattern::fixed(16, 2), |d, j| {
        j <= d && (d.div_euclid(16) == j / 16 || j % 16 >= 14)
    });
}

#[test]
fn globals_and_diagonals() {
    let is_global = |x: i64| [0, 1, 40].contains(&x);
    assert_shows(&Pattern::global([0, 1, 40]), |d, j| {
        is_global(d) || is_global(j)
    });
    assert_shows(&Pattern::longformer(6, [0, 1, 40]), |d, j| {
        is_global(d) || is_global(j) || (d - j).abs() <= 6
    });
    assert_shows(&Pattern::vertical_slash([3, 30], [0, 1, 17]), |d, j| {
        j <= d && ([3, 30].contains(&j) || [0, 1, 17].contains(&(d - j)))
    });
}

#[test]
fn documents() {
    let grid = BlockGrid::new(16, 60, 100);
    let ids = |n: usize, step: usize| (0..n).map(|i| (i / step) as i32).collect::<Vec<_>>();
    let (q, k) = (ids(60, 12), ids(100, 20));
    let pattern = Pattern::document(q.clone(), k.clone());
    let mask = BlockMask::from_pattern(grid, &pattern).expect("one id per token");
    for (b, h, i, j) in pairs(&grid) {
        assert_eq!(mask.sees(b, h, i, j), q[i as usize] == k[j as usize]);
    }
    assert!(BlockMask::from_pattern(BlockGrid::new(16, 61, 100), &pattern).is_err());
}

#[test]
fn big_bird() {
    let grid = BlockGrid::new(16, 16 * 20, 16 * 20);
    let of =
        |seed| BlockMask::from_pattern(grid, &Pattern::big_bird(1, 2, 3, seed)).expect("legal");
    let mask = of(5);
    for i in 0..20 {
        let list: Vec<u32> = mask.list(0, 0, i).iter().map(|b| b.index).collect();
        if i < 2 {
            assert_eq!(list.len(), 20, "a global row sees all");
            continue;
        }
        let ruled = |j: &u32| *j < 2 || i.abs_diff(*j) <= 1;
        assert!((0..20).filter(ruled).all(|j| list.contains(&j)), "{list:?}");
        assert_eq!(list.iter().filter(|j| !ruled(j)).count(), 3, "{list:?}");
    }
    assert!(mask.blocks().iter().all(|block| block.tile.is_none()));
    assert_eq!(mask, of(5));
    assert_ne!(mask, of(6));
}

/// Where there are other numbers of keys than of queries, a query's block is the one that it stands in.
#[test]
fn big_bird_stands_bottom_right() {
    for (q_len, kv_len) in [(50, 131), (90, 33)] {
        let grid = BlockGrid::new(16, q_len, kv_len);
        let pattern = Pattern::big_bird(1, 2, 0, 0);
        let mask = BlockMask::from_pattern(grid, &pattern).expect("it fits the grid");
        let expected: Vec<bool> = pairs(&grid)
            .map(|(_, _, i, j)| {
                let stands = (i64::from(i) + i64::from(kv_len) - i64::from(q_len)).div_euclid(16);
                let of_key = i64::from(j / 16);
                (0..2).contains(&stands) || of_key < 2 || stands.abs_diff(of_key) <= 1
            })
            .collect();
        assert!(dense(&mask) == expected, "{mask}");
    }
}

#[test]
fn a_pattern_per_head() {
    let grid = BlockGrid::new(16, 40, 40).with_heads(2);
    let patterns = [Pattern::sliding_window(3, 3), Pattern::strided(8)];
    let mask = BlockMask::from_patterns(grid, &patterns).expect("one per head");
    for (n, pattern) in patterns.iter().enumerate() {
        let alone = BlockMask::from_pattern(grid.with_heads(1), pattern).expect("legal");
        for (b, h, i, j) in pairs(alone.grid()) {
            assert_eq!(mask.sees(b, n as u32, i, j), alone.sees(b, h, i, j));
        }
    }
}

#[test]
fn densities() {
    let grid = BlockGrid::new(64, 256, 256);
    let of = |pattern| BlockMask::from_pattern(grid, &pattern).expect("legal");
    let causal = of(Pattern::causal());
    assert_eq!(causal.pairs(), 256 * 257 / 2);
    let text = causal.to_string();
    assert!(
        text.contains("density 50.20 %")
            && text.contains("10 of 16 blocks visible, 6 of them full"),
        "{text}"
    );
    assert_eq!(of(Pattern::full()).density(), 1.0);
}

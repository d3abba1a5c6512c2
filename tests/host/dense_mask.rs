//! Boolean masks: how they are packed, what they hide, and what is refused.

use wgpu_attention::problem::{DenseMask, Layout, Mask, MaskBits};
use wgpu_attention::reference::{Tensors, visible};
use wgpu_attention::{Element, Error, Plan, Problem, Role, Shape};

const KEYS: u32 = 70;

fn problem() -> Problem {
    let shape = Shape {
        kv_len: KEYS,
        ..Shape::square(2, 3, 4, 8)
    };
    Problem::new(shape, Element::F32)
}

/// About half of the pairs, in no order.
fn sees(n: usize) -> bool {
    n * n % 7 < 3
}

#[test]
fn a_bit_is_a_pair_whatever_is_broadcast() {
    let problem = problem();
    for sizes in [[2, 3, 4], [1, 3, 4], [2, 1, 4], [2, 3, 1], [1, 1, 1]] {
        let pairs = sizes.iter().product::<u32>() * KEYS;
        let bools: Vec<bool> = (0..pairs as usize).map(sees).collect();
        let words = DenseMask::pack(KEYS, &bools);
        let host = DenseMask::from_bools(sizes, KEYS, &bools).expect("as many bools");
        let device = DenseMask::device(sizes, KEYS);
        for dense in [host, device] {
            let mut p = problem.clone();
            p.mask.dense = Some(dense);
            let tensors = Tensors::new(&[], &[], &[]).with_mask(Some(&words[..]));
            let at = |b, h, i, j| {
                let [b, h, i] = [b % sizes[0], h % sizes[1], i % sizes[2]];
                (((b * sizes[1] + h) * sizes[2] + i) * KEYS + j) as usize
            };
            for (b, h, i) in (0..24).map(|n| (n / 12, n / 4 % 3, n % 4)) {
                for j in 0..KEYS {
                    let want = sees(at(b, h, i, j));
                    assert_eq!(visible(&p, &tensors, b, h, i, j), want, "{sizes:?}");
                }
            }
        }
    }
}

#[test]
fn the_lowest_bit_is_the_first_key() {
    let mut row = [false; 35];
    (row[0], row[33]) = (true, true);
    assert_eq!(DenseMask::pack(35, &row), [1, 2]);
    assert_eq!(DenseMask::pack(35, &[row, row].concat()), [1, 2, 1, 2]);
    assert_eq!(DenseMask::row_words(35), 2);
}

/// Only words of the device's are an operand, and as many as the layout reaches.
#[test]
fn what_a_plan_requires() {
    let need = |dense: DenseMask| {
        let mut p = problem();
        p.mask.dense = Some(dense);
        let caps = wgpu_attention::Caps::BASELINE;
        let plan = Plan::attention(&p, &caps, &Default::default()).expect("a plan");
        let needs = plan.requirements().iter();
        let mask = needs.filter(|need| need.role == Role::Mask);
        mask.map(|need| need.bytes).collect::<Vec<_>>()
    };
    assert_eq!(need(DenseMask::device([1, 1, 4], KEYS)), [4 * 3 * 4]);
    assert_eq!(need(DenseMask::device([2, 3, 1], KEYS)), [6 * 3 * 4]);
    let host = DenseMask::from_bools([1, 1, 1], KEYS, &[true; 70]).expect("a row");
    assert_eq!(need(host), Vec::<u64>::new());
}

#[test]
fn what_is_refused() {
    let few = DenseMask::from_bools([1, 1, 4], KEYS, &[true; 70]);
    let want = Error::Values {
        what: "mask",
        actual: 70,
        expected: 280,
    };
    assert_eq!(few, Err(want));
    let refused = |layout, bits| {
        let mut p = problem();
        p.mask = Mask::default().with_dense(Some(DenseMask::new(layout, bits)));
        p.validate().err()
    };
    let layout = Layout::heads_first(3, 4, 3);
    let short = refused(layout, MaskBits::Host(vec![0; 71].into()));
    let want = Error::Values {
        what: "mask",
        actual: 71,
        expected: 72,
    };
    assert_eq!(short, Some(want));
    let far = Layout {
        batch: 1 << 40,
        ..layout
    };
    let far = refused(far, MaskBits::Device);
    assert!(
        matches!(far, Some(Error::Extent { what: "mask", .. })),
        "{far:?}"
    );
}

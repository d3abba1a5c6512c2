//! Lengths, heads and slices.

use wgpu_attention::problem::{Mask, Slice};

use super::{Case, Setting, Sizes};

/// Lengths on either side of the tiles that kernels use.
const EDGES: [u32; 9] = [7, 8, 9, 31, 32, 33, 63, 64, 65];

pub fn cases(setting: &Setting) -> Vec<Case> {
    [
        edges(setting),
        heads(setting),
        empty(setting),
        slices(setting),
    ]
    .concat()
}

fn edges(setting: &Setting) -> Vec<Case> {
    let one = |name: String, q, k| Case::new(name, setting, Sizes::one(q, k));
    // Errors are relative to the answer's root mean square, which one row that cancels would make tiny.
    let many = |name: &str, q, k| Case::new(name, setting, Sizes::two(8, 4, q, k));
    let mut cases = vec![
        many("one token", 1, 1),
        many("one query, 70 keys", 1, 70),
        many("70 queries, one key", 70, 1),
        many("causal, one key, 3 queries", 3, 1).with(|p| p.mask = Mask::causal()),
    ];
    for n in EDGES {
        cases.push(one(format!("full {n} x {n}"), n, n));
        cases.push(one(format!("causal {n} x {n}"), n, n).with(|p| p.mask = Mask::causal()));
        cases.push(one(format!("full 5 x {n}"), 5, n));
        cases.push(one(format!("full {n} x 5"), n, 5));
    }
    cases
}

fn heads(setting: &Setting) -> Vec<Case> {
    [(2, 2, "MHA"), (4, 2, "GQA"), (6, 2, "GQA"), (3, 1, "MQA")]
        .into_iter()
        .map(|(q, kv, name)| {
            let sizes = Sizes::two(q, kv, 19, 37);
            Case::new(format!("{name} {q}:{kv}"), setting, sizes).with(|p| p.mask = Mask::causal())
        })
        .collect()
}

/// Nothing to attend to, or nobody who attends.
fn empty(setting: &Setting) -> Vec<Case> {
    let none = Sizes {
        batch: 0,
        ..Sizes::one(3, 3)
    };
    vec![
        Case::new("no batch", setting, none),
        Case::new("no query", setting, Sizes::one(0, 5)),
        Case::new("no key", setting, Sizes::two(2, 1, 5, 0)),
    ]
}

/// Parts of a problem, cut at odd places.
fn slices(setting: &Setting) -> Vec<Case> {
    let cut = |name: &str, mask: Mask, q, k| {
        Case::new(name, setting, Sizes::two(4, 2, 41, 67)).with(|p| {
            p.mask = mask;
            p.slice = Some(Slice { q, k });
        })
    };
    let window = Mask::window(9, 4).with_first(3);
    vec![
        cut("slice of full", Mask::default(), 3..38, 5..66),
        cut("slice of causal", Mask::causal(), 1..40, 29..61),
        cut("slice of window with first", window, 7..23, 1..44),
        cut("slice of one row and key", Mask::causal(), 40..41, 66..67),
        cut("slice without keys", Mask::causal(), 2..9, 17..17),
        cut("slice that causal hides", Mask::causal(), 0..9, 50..67),
    ]
}

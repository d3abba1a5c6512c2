//! What the records show robustly, on less text.

use lab::kept::Kept;
use lab::measure::{Bits, cut};
use lab::model::TRAINED;
use lab::scheme::{Learned, Scheme};
use lab::text;

use super::tool::{gpu, weights};

const LONG: usize = 1024;

/// At the trained length and at 1024, on the same 2048 bytes.
fn bits(kept: &Kept, scheme: &Scheme) -> [f64; 2] {
    let held_out = text::held_out().unwrap();
    let windows = text::windows(&held_out, LONG, 2).unwrap();
    [TRAINED, LONG].map(|len| {
        let attend = scheme.attend(gpu(), len);
        Bits::of(&kept.model, &*attend, &cut(&windows, len))
            .unwrap()
            .mean()
    })
}

#[test]
fn beyond_the_trained_context() {
    let [rope, alibi] =
        [Learned::Rope, Learned::Alibi].map(|learned| Kept::read(&weights(), learned).unwrap());
    let none = bits(&rope, &Scheme::AsTrained(Learned::Rope));
    let ntk = bits(&rope, &Scheme::NtkAware);
    let alibi = bits(&alibi, &Scheme::AsTrained(Learned::Alibi));
    let all = format!("none {none:?}, ntk {ntk:?}, alibi {alibi:?}");
    // As trained the two are one, and as good as when they were kept.
    assert!((none[0] - ntk[0]).abs() < 1e-6, "{all}");
    assert!((none[0] - rope.story.held_out).abs() < 0.25, "{all}");
    assert!(
        none[1] > none[0] + 0.2,
        "plain RoPE does not extrapolate: {all}"
    );
    assert!(ntk[1] < none[1] - 0.1, "NTK helps: {all}");
    assert!(alibi[1] < alibi[0] + 0.05, "ALiBi extrapolates: {all}");
}

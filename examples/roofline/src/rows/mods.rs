//! The user's functions: what the least of them costs.

use wgpu_attention::problem::Mods;

use crate::case::Row;

/// Sees every pair, which no compiler knows: all tiles are partial and none hides anything.
const MASK: &str =
    "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return i + j != 0xffffffffu; }";

/// A row with a mask_mod beside one without, which it is compared with.
pub fn row(dense: &Row) -> Row {
    let row = Row {
        kernel: "mod",
        strategy: dense.strategy,
        problem: dense
            .problem
            .clone()
            .with_mods(Mods::new(MASK).expect("a text that the library accepts")),
        params: "mask_mod".into(),
        case: dense.case,
        baseline: None,
    };
    row.over("dense", dense)
}

//! Small operations: rows rotated, tables added, partial results merged.

mod append;
pub(super) mod embed;
pub(super) mod hadamard;
pub(in crate::plan) mod max_scores;
pub(super) mod merge;
pub(in crate::plan) mod pack;
mod quantize;
pub(super) mod rotary_table;
pub(super) mod rotate;

pub(super) use append::plan as append;
pub(super) use embed::plan as embed;
pub(super) use merge::plan as merge;
pub(super) use quantize::plan as quantize;
pub(super) use rotate::plan as rotate;

//! What forward and backward share.

pub(super) mod context;
pub(super) mod inputs;
pub(in crate::plan) mod lookup;
pub(super) mod mask;
pub(super) mod positions;
pub(super) mod score;

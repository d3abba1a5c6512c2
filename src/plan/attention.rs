//! What forward and backward share.

pub(super) mod context;
pub(super) mod inputs;
pub(super) mod mask;
pub(super) mod positions;
pub(super) mod score;

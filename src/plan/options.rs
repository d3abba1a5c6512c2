//! What a caller decides in the planner's place.

use crate::error::{Error, Result};
use crate::kernel::Tiling;

/// The strategies by name, for a caller that wants a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyKind {
    /// Keys live in the lanes of a subgroup and are read by shuffle.
    Subgroup,
    /// Keys live in workgroup memory; needs no feature.
    Workgroup,
}

/// Where a rotation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateWhere {
    /// As the attention kernel loads q and k.
    Fused,
    /// In a pass before, into scratch.
    Pass,
}

/// What the caller decides instead of the planner. The default decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// The strategy; an error where it cannot run.
    pub strategy: Option<StrategyKind>,
    /// Lanes of a cluster, for the subgroup strategy.
    pub width: Option<u32>,
    /// The tiles; an error where they do not fit the strategy or the device.
    pub tiling: Option<Tiling>,
    /// Parts into which the visited key tiles are split.
    pub splits: Option<u32>,
    /// Whether few queries are taken by tiles that pack the heads of a KV head; an error where that cannot be.
    pub decode: Option<bool>,
    /// Query rows of a step at the most.
    pub slice_rows: Option<u32>,
    /// Where q and k are rotated.
    pub rotate: Option<RotateWhere>,
    /// Loads 64 bits at a time, where rows are whole vec8s of channels.
    pub vec8: Option<bool>,
    /// The subgroup strategy computes scores key by key in a loop.
    pub key_loop: Option<bool>,
    /// Outputs share a buffer with another operand, so they are written through scratch. `prepare` sets it when it
    /// finds that they do.
    pub shared_outputs: bool,
    /// Writes the number of visited tiles in place of lse: a diagnostic.
    pub count_tiles: bool,
}

setters! {
    PlanOptions {
        with_strategy(strategy?: StrategyKind);
        with_width(width?: u32);
        with_tiling(tiling?: Tiling);
        with_splits(splits?: u32);
        with_decode(decode?: bool);
        with_slice_rows(slice_rows?: u32);
        with_rotate(rotate?: RotateWhere);
        with_vec8(vec8?: bool);
        with_key_loop(key_loop?: bool);
        with_shared_outputs(shared_outputs: bool);
        with_count_tiles(count_tiles: bool);
    }
}

impl PlanOptions {
    pub(super) fn validate(&self) -> Result<()> {
        for (what, value) in [("slice_rows", self.slice_rows), ("splits", self.splits)] {
            if value == Some(0) {
                return Err(Error::size(what, 0_u32, "at least 1"));
            }
        }
        Ok(())
    }
}

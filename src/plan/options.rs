//! What a caller decides in the planner's place.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernel::{StrategyKind, Tiling};
use crate::tuning::Tuning;

use super::budget::Budget;

/// Where a rotation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Lanes of a cluster: asks for the subgroup strategy.
    pub width: Option<u32>,
    /// The tiles; an error where they do not fit the strategy or the device.
    pub tiling: Option<Tiling>,
    /// Parts into which the visited key tiles are split, at least 1.
    pub splits: Option<u32>,
    /// Whether few queries are taken by tiles that pack the heads of a KV head; an error where that cannot be.
    pub decode: Option<bool>,
    /// Query rows of a step at the most, at least 1.
    pub slice_rows: Option<u32>,
    /// The time that `Call::run_within` will be given: keys (and the queries of gradients) are split so that no workgroup
    /// alone is taken to need longer.
    pub within: Option<Budget>,
    /// Bytes that the call may allocate beside the operands ([`crate::Plan::scratch_bytes`]): where a plan takes more it goes by fewer
    /// rows at a time, then by fewer splits; an error with the least where that is not enough.
    pub max_scratch: Option<u64>,
    /// Where q and k are rotated.
    pub rotate: Option<RotateWhere>,
    /// Loads 64 bits at a time, where rows are whole vec8s of channels.
    pub vec8: Option<bool>,
    /// The subgroup strategy computes scores key by key in a loop; asks for that strategy.
    pub key_loop: Option<bool>,
    /// Outputs share a buffer with another operand, so they are written through scratch. `prepare` sets it when it
    /// finds that they do.
    pub shared_outputs: bool,
    /// Writes the number of visited tiles in place of lse: a diagnostic.
    pub count_tiles: bool,
    /// Measured tiles, in place of the library's table where nothing above forces others; those of an
    /// `Attention::with_tuning` where none are given.
    pub tuning: Option<Arc<Tuning>>,
}

setters! {
    PlanOptions {
        with_strategy(strategy?: StrategyKind);
        with_width(width?: u32);
        with_tiling(tiling?: Tiling);
        with_splits(splits?: u32);
        with_decode(decode?: bool);
        with_slice_rows(slice_rows?: u32);
        with_within(within?: Budget);
        with_max_scratch(max_scratch?: u64);
        with_rotate(rotate?: RotateWhere);
        with_vec8(vec8?: bool);
        with_key_loop(key_loop?: bool);
        with_shared_outputs(shared_outputs: bool);
        with_count_tiles(count_tiles: bool);
        with_tuning(tuning?: Arc<Tuning>);
    }
}

impl PlanOptions {
    /// True where nothing but the subgroup strategy can do what is asked.
    pub(super) fn asks_for_subgroups(&self) -> bool {
        self.strategy.is_some_and(StrategyKind::uses_subgroups)
            || self.width.is_some()
            || self.key_loop == Some(true)
    }

    /// True where the caller says which tiles.
    pub(super) fn forces_tiles(&self) -> bool {
        self.strategy.is_some()
            || self.width.is_some()
            || self.tiling.is_some()
            || self.key_loop.is_some()
    }

    /// Refuses what is legal nowhere; tiles know best what fits them.
    pub(super) fn validate(&self) -> Result<()> {
        for (what, value) in [("splits", self.splits), ("slice_rows", self.slice_rows)] {
            if value == Some(0) {
                return Err(Error::size(what, 0u32, "at least 1"));
            }
        }
        let without = self.strategy.filter(|kind| !kind.uses_subgroups());
        let asked = [
            ("width", self.width.is_some()),
            ("key_loop", self.key_loop == Some(true)),
        ];
        if let Some(kind) = without
            && let Some((what, _)) = asked.into_iter().find(|(_, asked)| *asked)
        {
            return Err(Error::Strategy {
                strategy: kind.name(),
                reason: format!(
                    "PlanOptions::{what} asks for the subgroup strategy; leave one of the two out"
                ),
            });
        }
        Ok(())
    }

    /// The same of a `task` without tiles, which uses `vec8` alone, and that not always.
    pub(super) fn validate_without_tiles(&self, task: &'static str, vec8: bool) -> Result<()> {
        self.validate()?;
        let asked = [
            ("strategy", self.strategy.is_some()),
            ("width", self.width.is_some()),
            ("tiling", self.tiling.is_some()),
            ("decode", self.decode.is_some()),
            ("splits", self.splits.is_some()),
            ("slice_rows", self.slice_rows.is_some()),
            ("within", self.within.is_some()),
            ("rotate", self.rotate.is_some()),
            ("vec8", self.vec8.is_some() && !vec8),
            ("key_loop", self.key_loop.is_some()),
            ("count_tiles", self.count_tiles),
        ];
        match asked.into_iter().find(|(_, asked)| *asked) {
            Some((option, _)) => Err(Error::UnusedOption { option, task }),
            None => Ok(()),
        }
    }
}

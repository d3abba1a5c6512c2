//! How far a workgroup of a gradient kernel goes, and what that costs.

use std::ops::Range;

use crate::error::Result;
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::cut;
use crate::plan::forward::splits::ITERATION_MARGIN;
use crate::plan::limits::product;
use crate::plan::tiles::{self, TileChoice};

use super::Pass;

impl Pass<'_> {
    /// Rows of the visited axis that a dispatch may take, so that a workgroup's work and its loop iterations are bounded.
    pub(super) fn part(
        &self,
        builder: &PlanBuilder<'_>,
        chosen: &TileChoice,
        rows: u32,
        heads: u32,
        tile_flops: u64,
    ) -> Result<u32> {
        let tiling = &chosen.tiling;
        let by_flops = match builder.options.splits {
            Some(_) => u64::MAX,
            None => builder.workgroup_flops() / tile_flops.max(1),
        };
        let iterations = tiles::iterations(chosen, self.problem(), builder.caps)?;
        let by_iterations = builder.caps.iterations.map_or(u64::MAX, |cap| {
            let searches = u64::from(heads) * tiles::searches(self.problem());
            (cap - ITERATION_MARGIN).saturating_sub(searches) / iterations
        });
        let tiles = by_flops.min(by_iterations) / u64::from(heads);
        let most = tiles
            .saturating_sub(1)
            .max(1)
            .saturating_mul(tiling.tile.into());
        let asked = rows
            .div_ceil(builder.options.splits.unwrap_or(1).max(1))
            .max(1);
        Ok(most.min(u64::from(asked)) as u32)
    }

    /// A streamed tile's bytes, as often as clusters load them.
    pub(super) fn read_bytes(&self, chosen: &TileChoice, visited: u64) -> u64 {
        let shape = &self.problem().shape;
        let dims = u64::from(shape.head_dim + shape.value_dim);
        let element = self.context.q.operand.element;
        let tile = element.bytes(u64::from(chosen.tiling.tile) * dims);
        product([visited, tile, tiles::loads(chosen)])
    }
}

/// How many pieces that makes, at the most.
pub(super) fn count_pieces(range: &Range<u32>, n: u32, tile: u32) -> u64 {
    u64::from((range.len() as u32).div_ceil(n.next_multiple_of(tile).max(1)))
}

/// `range` in pieces of about `n`, cut at multiples of `tile`.
pub(super) fn pieces(range: Range<u32>, n: u32, tile: u32) -> impl Iterator<Item = Range<u32>> {
    let begin = range.start / tile * tile;
    // What fits in one piece stays whole, wherever its tiles begin.
    let n = if n >= range.end.saturating_sub(range.start) {
        (range.end - begin).max(1)
    } else {
        n.next_multiple_of(tile)
    };
    let whole = range.clone();
    cut(begin..range.end.max(begin), n)
        .map(move |part| part.start.max(whole.start)..part.end)
        .chain(range.is_empty().then_some(range))
}

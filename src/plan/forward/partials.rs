//! Partial results of a call whose keys are split: how much scratch they take, and where each lies.

use crate::error::Result;
use crate::kernel::{NOTHING, Params, Strides};
use crate::plan::Binding;
use crate::plan::builder::PlanBuilder;
use crate::plan::operation::max_scores::LseScratch;
use crate::plan::parts::{Axis, Lengths};
use crate::plan::view::Rows;

use super::tiled::Tiled;

/// Bytes of partial results at a time; more rows than these hold are computed slice by slice.
pub(super) const PARTIAL_BYTES: u64 = 32 << 20;

impl Tiled<'_> {
    /// Partial results of each row.
    pub(super) fn partials(&self) -> u32 {
        self.splits * self.key_runs()
    }

    /// Partial results must fit in a binding, too.
    pub(super) fn fit_partials(&mut self) -> Result<()> {
        if self.partials() == 1 {
            return Ok(());
        }
        let row = self.row_bytes();
        let ragged = self.ragged_rows();
        let rows = |n: &Lengths| match ragged {
            Some(rows) => u64::from(n.heads) * u64::from(rows),
            None => n.rows(),
        };
        let bytes = |n: &Lengths| rows(n).saturating_mul(row);
        let all = bytes(&self.parts.lengths());
        let axes: &[Axis] = match ragged {
            Some(_) => &[Axis::Heads],
            None => &[Axis::Queries, Axis::Batches, Axis::Heads],
        };
        self.parts
            .fit_by("scratch for partial o", (all, bytes), axes)
    }

    /// Query rows of a slice: what the caller asks for, and no more than the partial results may take.
    pub(super) fn rows_per_slice(&self, builder: &PlanBuilder<'_>) -> u32 {
        let asked = builder.options.slice_rows.unwrap_or(u32::MAX).max(1);
        if self.partials() == 1 || self.ragged_rows().is_some() {
            return asked;
        }
        let n = self.parts.lengths();
        let row = self.row_bytes() * u64::from(n.batches) * u64::from(n.heads);
        let most = PARTIAL_BYTES.min(builder.binding_limit()) / row.max(1);
        asked.min(most.clamp(1, u64::from(u32::MAX)) as u32)
    }

    /// Bytes of one row of o in all partials, or of its lse where these and largest scores take more.
    pub(super) fn row_bytes(&self) -> u64 {
        let dim = u64::from(self.context.problem.shape.value_dim) * 4;
        let lse = self
            .context
            .problem
            .max_score
            .map_or(0, |_| LseScratch::ROW_BYTES);
        u64::from(self.partials()) * dim.max(lse)
    }

    pub(super) fn partial_scratch(
        &self,
        builder: &mut PlanBuilder<'_>,
        rows: &Rows,
    ) -> Result<(Binding, LseScratch)> {
        let partials = u64::from(self.partials());
        let o = builder.scratch("scratch for partial o", rows.count() * self.row_bytes())?;
        let with_largest = self.context.problem.max_score.is_some();
        let rows = rows.count() * partials;
        let lse = LseScratch::new(builder, "scratch for partial lse", rows, with_largest)?;
        Ok((o, lse))
    }

    /// Of the partial results from `first` on, contiguous rows each.
    pub(super) fn partial_params(&self, params: Params, rows: &Rows, first: u32) -> Params {
        let (dim, count) = (params.sizes.value_dim, rows.count() as u32);
        let [_, heads, queries] = rows.sizes();
        let strides = |dim: u32| {
            let mut strides = Strides::contiguous(heads, queries, dim, rows.rows.start);
            let before = rows.renumber_strides(Strides {
                start: 0,
                ..strides
            });
            let skipped = first.wrapping_mul(count).wrapping_mul(dim);
            strides.start = strides
                .start
                .wrapping_sub(before.start)
                .wrapping_add(skipped);
            strides
        };
        params.with(|p| {
            p.work.splits = self.splits;
            p.sinks.at = NOTHING;
            (p.o, p.lse) = (strides(dim), strides(1));
            (p.partial.o, p.partial.lse) = (count.wrapping_mul(dim), count);
        })
    }
}

//! In how many parts the visited keys are taken.

use crate::caps::AdapterClass;
use crate::error::{Error, Result};
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::tiles;
use crate::problem::Slice;

use super::MOST_SPLITS;
use super::partials::PARTIAL_BYTES;
use super::tiled::Tiled;

impl Tiled<'_> {
    /// Parts of a run of keys: as many as the caller asks for, else as a software adapter's cap on loop iterations, the
    /// bound on a workgroup's work and idle processors call for.
    pub(super) fn choose_splits(&self, builder: &PlanBuilder<'_>) -> Result<u32> {
        let slice = self.context.problem.slice();
        let tiling = &self.chosen.tiling;
        let runs = self.key_runs();
        let there = self.tiles_of_run();
        let schedule = &self.context.schedule;
        let rows = tiling.tile_rows().div_ceil(self.packed);
        let bounds = [
            schedule.longest_list(tiling.tile),
            schedule.most_windowed(rows, tiling.tile),
        ];
        let tiles = bounds.into_iter().flatten().fold(there, u64::min) + 1;
        let most = tiles.min(u64::from(MOST_SPLITS));
        let iterations = tiles.saturating_mul(tiles::iterations(
            &self.chosen,
            self.context.problem,
            builder.caps,
        )?);
        let capped = builder
            .caps
            .iterations
            .map_or(1, |cap| iterations.div_ceil(cap - ITERATION_MARGIN));
        if let Some(splits) = builder.options.splits {
            if u64::from(splits) < capped.max(1) {
                let allowed = match capped {
                    0 | 1 => "at least 1".into(),
                    least => format!(
                        "at least {least}: the driver stops an invocation that loops on and on, without a word"
                    ),
                };
                return Err(Error::size("splits", splits, allowed));
            }
            let of_run = u64::from(splits.min(MOST_SPLITS).div_ceil(runs));
            return Ok(of_run.max(capped) as u32);
        }
        let pairs = u64::from(tiling.tile) * u64::from(tiling.tile_rows());
        let visited = match self.most_visited(&slice) {
            most if runs > 1 => most.min(there + 1),
            most => most,
        };
        let flops = product([visited, pairs, self.pair_flops()]);
        let heavy = flops.div_ceil(builder.workgroup_flops());
        let busy = self.chosen.busy.map(u64::from);
        let busy = busy.unwrap_or(busy_workgroups(builder.caps.class));
        let idle = busy.saturating_mul(self.skew(&slice)) / self.workgroups(&slice).max(1);
        let idle = idle
            .min(visited / tiles_per_split(tiling.tile))
            .min(self.most_in_scratch())
            .max(1);
        Ok(capped.max(heavy).max(idle).min(most) as u32)
    }

    /// Parts of the rows of a ragged batch that scratch has room for: they are not computed slice by slice.
    fn most_in_scratch(&self) -> u64 {
        let problem = self.context.problem;
        if !problem.queries().is_ragged() {
            return u64::MAX;
        }
        let row = u64::from(problem.shape.value_dim) * 4;
        PARTIAL_BYTES
            / product(problem.q_sizes().map(u64::from))
                .saturating_mul(row)
                .max(1)
    }

    /// Workgroups of one part.
    fn workgroups(&self, slice: &Slice) -> u64 {
        let (shape, queries) = (&self.context.problem.shape, self.context.problem.queries());
        let tiles = |rows: u32| {
            let rows = u64::from(rows) * u64::from(self.packed);
            rows.div_ceil(self.chosen.tiling.tile_rows().into())
        };
        let tiles = match queries.is_ragged() {
            true => (0..shape.batch).map(|b| tiles(queries.of(b))).sum(),
            false => product([tiles(slice.q.end - slice.q.start), shape.batch.into()]),
        };
        product([tiles, (shape.q_heads / self.packed).into()])
    }

    /// Key tiles of the longest run.
    fn tiles_of_run(&self) -> u64 {
        let k = self.context.problem.slice().k;
        let longest = (k.end - k.start).min(self.parts.lengths().k);
        longest.div_ceil(self.chosen.tiling.tile).into()
    }

    /// The most key tiles that a tile of rows visits, at most (the last rows of a causal mask see the most).
    fn most_visited(&self, slice: &Slice) -> u64 {
        let tiling = &self.chosen.tiling;
        if let Some(listed) = self.context.schedule.longest_list(tiling.tile) {
            return listed;
        }
        let (problem, schedule) = (self.context.problem, &self.context.schedule);
        let rows = tiling.tile_rows().div_ceil(self.packed);
        (0..problem.shape.batch)
            .filter_map(|b| Some((b, slice.q.end.min(problem.queries().of(b)).checked_sub(1)?)))
            .filter(|&(_, last)| last >= slice.q.start)
            .flat_map(|(b, last)| {
                [slice.q.start, slice.q.start.midpoint(last), last].map(|i| {
                    let first = i.saturating_sub(rows).max(slice.q.start);
                    schedule.visited(b, 0, first, i, tiling.tile)
                })
            })
            .max()
            .unwrap_or(0)
    }

    /// How many times as long as a row on average the row takes that sees the most: 2 under a causal mask.
    fn skew(&self, slice: &Slice) -> u64 {
        let shape = &self.context.problem.shape;
        let rows = match self.context.problem.queries().is_ragged() {
            true => product(self.context.problem.q_sizes().map(u64::from)),
            false => product([slice.q.len() as u32, shape.batch, shape.q_heads].map(u64::from)),
        };
        let most = product([
            self.most_visited(slice),
            self.chosen.tiling.tile.into(),
            rows,
        ]);
        let all = self.context.pairs().max(1);
        // Rounded to the nearest.
        (most / all + u64::from(most % all >= all.div_ceil(2))).max(1)
    }
}

/// Loop iterations that are not key steps.
pub(in crate::plan) const ITERATION_MARGIN: u64 = 535;

/// Workgroups that keep an adapter busy. An H200, 8 heads (ms; the rest of the forward table agrees):
///
/// |                          | 256  | 512  | 1024 | 2048 |
/// | ---                      | ---  | ---  | ---  | ---  |
/// | D = 64, N = 1024         | 0.33 | 0.22 | 0.21 | 0.21 |
/// | D = 64, N = 4096, causal | 2.16 | 1.50 | 1.21 | 1.16 |
/// | D = 128, N = 4096        | 3.90 | 3.87 | 3.82 | 3.85 |
/// | the same, causal         | 3.08 | 3.03 | 2.40 | 2.20 |
///
/// An integrated GPU was not measured.
fn busy_workgroups(class: AdapterClass) -> u64 {
    match class {
        AdapterClass::Cpu => 8,
        AdapterClass::Integrated => 64,
        AdapterClass::Discrete => 2048,
    }
}

/// Key tiles below which a split is not worth its merge: 256 keys.
fn tiles_per_split(tile: u32) -> u64 {
    u64::from(256 / tile).max(1)
}

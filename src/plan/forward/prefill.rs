//! Forward attention over tiles of query rows.

use std::ops::Range;

use crate::caps::AdapterClass;
use crate::error::{Error, Result};
use crate::kernel::{Input, NOTHING, Output, Params, Prefill, Strides};
use crate::plan::attention::context::{Context, pairs};
use crate::plan::builder::{PlanBuilder, check_steps, product};
use crate::plan::cost::PerHead;
use crate::plan::dispatch::{cut, tile_steps};
use crate::plan::operation::merge::{Deferred, Target, combine, into_target};
use crate::plan::operation::rotate;
use crate::plan::schedule::Schedule;
use crate::plan::sparse::select;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::plan::{Binding, Cost, RotateWhere};
use crate::problem::{Problem, Slice};

use super::Answer;

/// Bytes of partial results at a time; more rows than these hold are computed slice by slice.
const PARTIAL_BYTES: u64 = 32 << 20;

/// Whatever no other family takes.
pub(in crate::plan) fn steps(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: Params,
    target: &Target,
) -> Result<Answer> {
    Forward::new(builder, problem, params)?.steps(builder, target)?;
    Ok(Answer::Planned)
}

/// Whether the kernel rotates q and k as it loads them. Each tile of queries then rotates every key anew, which pays
/// only where there are few: a pass before reads and writes each row once.
fn fuses_rotation(
    problem: &Problem,
    chosen: &TileChoice,
    builder: &mut PlanBuilder<'_>,
) -> Result<bool> {
    let Some(rotary) = problem.position.rotation() else {
        return Ok(false);
    };
    let shape = &problem.shape;
    let slice = problem.slice();
    let reads = (slice.q.end - slice.q.start).div_ceil(chosen.tiling.tile_rows()) * shape.group();
    let input = Input::of(&[&problem.q, &problem.k], &[shape.head_dim]);
    let whole = rotate::whole_chunks(rotary, 4);
    let able = whole && !problem.position.k_rotated;
    let selects = problem.mask.selected_blocks().is_some();
    let fused = match builder.options.rotate {
        Some(RotateWhere::Fused) if selects => {
            let reason =
                "blocks are chosen from rotated q and k, before the kernel loads them".into();
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(RotateWhere::Fused) if !able => {
            let reason = if whole {
                "kernels that rotate as they load rotate keys too, and k holds rotated keys".into()
            } else {
                format!(
                    "a rotary dimension of {} from channel {} on does not fall into whole 4-vectors",
                    rotary.dim, rotary.start
                )
            };
            return Err(Error::Strategy {
                strategy: "fused rotation",
                reason,
            });
        }
        Some(asked) => asked == RotateWhere::Fused,
        None => able && reads == 1 && !selects,
    };
    let how = if input.aligned { "" } else { ", unaligned" };
    let rows = rotate::rotated_rows(&problem.position);
    builder.note(if fused {
        format!("{rows} as they are loaded: each key is read {reads} times{how}")
    } else {
        format!("{rows} in a pass before: each key is read {reads} times{how}")
    });
    Ok(fused)
}

/// What all steps of a forward call share.
struct Forward<'a> {
    context: Context<'a>,
    chosen: TileChoice,
    splits: u32,
}

impl<'a> Forward<'a> {
    fn new(builder: &mut PlanBuilder<'_>, problem: &'a Problem, params: Params) -> Result<Self> {
        let flops = pairs(problem, &Schedule::new(problem)).saturating_mul(pair_flops(problem));
        let tile_request = TileRequest::forward(&problem.shape, flops);
        let mut chosen = Context::tiles(builder, problem, tile_request)?;
        if tile_request.is_small(builder.caps) && builder.options.tiling.is_none() {
            builder.note(
                "so little work takes tiles that compile fast, at about half the speed of larger ones".into(),
            );
        }
        let fused = fuses_rotation(problem, &chosen, builder)?;
        let mut context = Context::new(builder, problem, params, fused)?;
        context.make_inputs(builder)?;
        context.settle(builder, &mut chosen, &[]);
        select::copy_lists(builder, problem, &context.params);
        let mut forward = Self {
            context,
            chosen,
            splits: 1,
        };
        forward.splits = forward.choose_splits(builder)?;
        if builder
            .options
            .splits
            .is_some_and(|asked| asked > MOST_SPLITS)
        {
            builder.note(format!("more than {MOST_SPLITS} splits are never made"));
        }
        if forward.splits > 1 {
            let splits = forward.splits;
            builder.note(format!(
                "the visited key tiles are split in {splits} parts, merged by combine"
            ));
        }
        Ok(forward)
    }

    fn steps(&self, builder: &mut PlanBuilder<'_>, target: &Target) -> Result<()> {
        let q = self.context.problem.slice().q;
        let rows = self.rows_per_slice(builder);
        // Each is a step at the least.
        check_steps((q.end - q.start).div_ceil(rows).into())?;
        let slices: Vec<_> = cut(q.clone(), rows).collect();
        if slices.len() < 2 || !builder.options.shared_outputs {
            return self.slices(builder, target, slices);
        }
        // The results may lie where later slices read: all of them wait in scratch.
        let deferred = Deferred::new(
            builder,
            self.context.params.with(|p| {
                p.range.q_begin = q.start;
                p.range.q_end = q.end;
            }),
        )?;
        self.slices(builder, &deferred.target, slices)?;
        deferred.bring(builder, target)
    }

    fn slices(
        &self,
        builder: &mut PlanBuilder<'_>,
        target: &Target,
        slices: Vec<Range<u32>>,
    ) -> Result<()> {
        let mut partial = None;
        for q in slices {
            let params = self.context.params.with(|p| {
                p.range.q_begin = q.start;
                p.range.q_end = q.end;
            });
            if self.splits == 1 {
                into_target(
                    builder,
                    params,
                    target,
                    |builder, params, o, lse, output| {
                        self.dispatches(builder, params, o, lse, output)
                    },
                )?;
                continue;
            }
            let (o, lse) = match partial {
                Some(partial) => partial,
                None => *partial.insert(self.partial_scratch(builder, q.end - q.start)?),
            };
            let partial = self.partial_params(params);
            let output = Output::scratch(partial.sizes.value_dim);
            self.dispatches(builder, partial, o, lse, output)?;
            combine(builder, params, self.splits, Some((o, lse)), target)?;
        }
        Ok(())
    }

    /// Query rows of a slice: what the caller asks for, and no more than the partial results may take.
    fn rows_per_slice(&self, builder: &PlanBuilder<'_>) -> u32 {
        let asked = builder.options.slice_rows.unwrap_or(u32::MAX).max(1);
        if self.splits == 1 {
            return asked;
        }
        let shape = &self.context.problem.shape;
        let row = self.row_bytes() * u64::from(shape.batch) * u64::from(shape.q_heads);
        let most = PARTIAL_BYTES.min(builder.caps.binding_bytes) / row.max(1);
        asked.min(most.clamp(1, u64::from(u32::MAX)) as u32)
    }

    /// Bytes of one row of o in all partials.
    fn row_bytes(&self) -> u64 {
        u64::from(self.splits) * u64::from(self.context.problem.shape.value_dim) * 4
    }

    fn partial_scratch(
        &self,
        builder: &mut PlanBuilder<'_>,
        rows: u32,
    ) -> Result<(Binding, Binding)> {
        let shape = &self.context.problem.shape;
        let rows = u64::from(shape.batch) * u64::from(shape.q_heads) * u64::from(rows);
        let o = builder.scratch("scratch for partial o", rows * self.row_bytes())?;
        let lse = builder.scratch("scratch for partial lse", rows * u64::from(self.splits) * 4)?;
        Ok((o, lse))
    }

    fn partial_params(&self, params: Params) -> Params {
        let rows = params.range.q_end - params.range.q_begin;
        let heads = params.sizes.batch * params.sizes.q_heads * rows;
        params.with(|p| {
            p.work.splits = self.splits;
            p.sinks.at = NOTHING;
            p.o = Strides::contiguous(
                params.sizes.q_heads,
                rows,
                params.sizes.value_dim,
                params.range.q_begin,
            );
            p.lse = Strides::contiguous(params.sizes.q_heads, rows, 1, params.range.q_begin);
            p.partial.o = heads * params.sizes.value_dim;
            p.partial.lse = heads;
        })
    }

    /// Dispatches of bounded cost over the query tiles of one slice.
    fn dispatches(
        &self,
        builder: &mut PlanBuilder<'_>,
        mut params: Params,
        o: Binding,
        lse: Binding,
        output: Output,
    ) -> Result<()> {
        let tile_rows = self.chosen.tiling.tile_rows();
        let first = params.range.q_begin / tile_rows;
        params.work.tiles = params.range.q_end.div_ceil(tile_rows) - first;
        let key = self.key(output, builder.options.count_tiles);
        let mut bindings = vec![
            ("q", self.context.q.bound.binding),
            ("k", self.context.k.bound.binding),
            ("v", self.context.v.bound.binding),
            ("o", o),
            ("lse", lse),
        ];
        bindings.extend(self.context.score.bias.map(|bias| ("bias", bias)));
        let mut costs = PerHead::new(
            params.work.tiles,
            self.context.schedule.heads(),
            |b, h, tile| self.cost(&params, output, (b, h, tile)),
        );
        tile_steps(builder, key, &bindings, &params, |b, h, tile| {
            costs.of(b, h, tile)
        })
    }

    fn key(&self, output: Output, count_tiles: bool) -> Prefill {
        let shape = &self.context.problem.shape;
        let rotary = self.context.problem.position.rotation();
        Prefill {
            strategy: self.chosen.strategy,
            tiling: self.chosen.tiling,
            input: Input::of(
                &[&self.context.q.operand, &self.context.k.operand],
                &[shape.head_dim],
            ),
            value: Input::of(&[&self.context.v.operand], &[shape.value_dim]),
            output,
            chunks: shape.head_dim.div_ceil(4),
            value_chunks: shape.value_dim.div_ceil(4),
            score: self.context.score.key_of_rows(&self.chosen),
            mask: self.context.mask,
            rotary: rotary
                .filter(|_| self.context.fused)
                .map(|rotary| rotary.layout),
            vec8: self.chosen.vec8,
            key_loop: self.chosen.key_loop,
            count_tiles,
        }
    }

    /// Parts of the keys: as many as the caller asks for, else as a software adapter's cap on loop iterations, the
    /// bound on a workgroup's work and idle processors call for.
    fn choose_splits(&self, builder: &PlanBuilder<'_>) -> Result<u32> {
        let slice = self.context.problem.slice();
        let tiling = &self.chosen.tiling;
        let there = u64::from((slice.k.end - slice.k.start).div_ceil(tiling.tile));
        let listed = self.context.schedule.longest_list(tiling.tile);
        let tiles = there.min(listed.unwrap_or(there)) + 1;
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
            return Ok(splits.min(MOST_SPLITS));
        }
        let pairs = u64::from(tiling.tile) * u64::from(tiling.tile_rows());
        let flops = product([self.most_visited(&slice), pairs, self.pair_flops()]);
        let heavy = flops.div_ceil(builder.step_flops());
        let rows = u64::from((slice.q.end - slice.q.start).div_ceil(tiling.tile_rows()));
        let shape = &self.context.problem.shape;
        let workgroups = product([rows, shape.batch.into(), shape.q_heads.into()]);
        let idle =
            busy_workgroups(builder.caps.class).saturating_mul(self.skew(&slice)) / workgroups;
        let idle = idle
            .min(self.most_visited(&slice) / tiles_per_split(tiling.tile))
            .max(1);
        Ok(capped.max(heavy).max(idle).min(most) as u32)
    }

    /// The most key tiles that a tile of rows visits, at most (the last rows of a causal mask see the most).
    fn most_visited(&self, slice: &Slice) -> u64 {
        let tiling = &self.chosen.tiling;
        if let Some(listed) = self.context.schedule.longest_list(tiling.tile) {
            return listed;
        }
        let rows = tiling.tile_rows();
        let last = slice.q.end - 1;
        (0..self.context.problem.shape.batch)
            .flat_map(|b| {
                [slice.q.start, slice.q.start.midpoint(last), last].map(|i| {
                    self.context.schedule.visited(
                        b,
                        0,
                        i.saturating_sub(rows).max(slice.q.start),
                        i,
                        tiling.tile,
                    )
                })
            })
            .max()
            .unwrap_or(0)
    }

    /// How many times as long as a row on average the row takes that sees the most: 2 under a causal mask.
    fn skew(&self, slice: &Slice) -> u64 {
        let shape = &self.context.problem.shape;
        let rows =
            product([slice.q.end - slice.q.start, shape.batch, shape.q_heads].map(u64::from));
        let most = product([
            self.most_visited(slice),
            self.chosen.tiling.tile.into(),
            rows,
        ]);
        let all = self.context.pairs().max(1);
        // Rounded to the nearest.
        (most / all + u64::from(most % all >= all.div_ceil(2))).max(1)
    }

    fn pair_flops(&self) -> u64 {
        pair_flops(self.context.problem)
    }

    /// What a tile of queries of a batch and head costs.
    fn cost(&self, params: &Params, output: Output, (b, h, tile): (u32, u32, u32)) -> Cost {
        let (shape, tiling) = (&self.context.problem.shape, &self.chosen.tiling);
        let rows = tiling.tile_rows();
        let start = (params.range.q_begin / rows + tile) * rows;
        let (i0, i1) = (
            start.max(params.range.q_begin),
            (start + rows).min(params.range.q_end) - 1,
        );
        let visited = self.context.schedule.visited(b, h, i0, i1, tiling.tile);
        let slice = self.context.problem.slice();
        let of = slice.k.end.div_ceil(tiling.tile) - slice.k.start / tiling.tile;
        let element = self.context.q.operand.element.size();
        let live = u64::from(i1 - i0 + 1);
        let dims = u64::from(shape.head_dim + shape.value_dim);
        Cost {
            visited,
            of: of.into(),
            flops: self
                .context
                .schedule
                .pairs(b, h, i0, i1)
                .saturating_mul(self.pair_flops()),
            read_bytes: (live * u64::from(shape.head_dim)
                + visited * u64::from(tiling.tile) * dims * tiles::loads(&self.chosen))
                * element,
            written_bytes: live
                * u64::from(self.splits)
                * (u64::from(shape.value_dim) * output.element.size() + 4),
        }
    }
}

/// Past this many parts the merge costs more than it gains.
const MOST_SPLITS: u32 = 1024;
/// Loop iterations that are not key steps.
pub(in crate::plan) const ITERATION_MARGIN: u64 = 535;

/// 2·(D + Dv)
fn pair_flops(problem: &Problem) -> u64 {
    2 * u64::from(problem.shape.head_dim + problem.shape.value_dim)
}

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

//! Forward attention over tiles of query rows, of one head or packed of several, whichever family chose them.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{Decode, Input, NOTHING, Output, Params, Prefill, Strides, Variant};
use crate::plan::attention::context::Context;
use crate::plan::builder::PlanBuilder;
use crate::plan::cost::PerHead;
use crate::plan::dispatch::{cut, tile_steps};
use crate::plan::limits::{check_steps, product};
use crate::plan::operation::merge::{Deferred, Target, combine, into_target};
use crate::plan::operation::rotate;
use crate::plan::sparse::select;
use crate::plan::tiles::{self, TileChoice};
use crate::plan::{Binding, Cost, RotateWhere};
use crate::problem::Problem;

use super::splits::MOST_SPLITS;

/// Bytes of partial results at a time; more rows than these hold are computed slice by slice.
const PARTIAL_BYTES: u64 = 32 << 20;

/// Whose tiles they are.
#[derive(Clone, Copy)]
pub(super) enum Family {
    Prefill,
    Decode,
}

/// Whether the kernel rotates q and k as it loads them. Each tile of queries then rotates every key anew, which pays
/// only where there are few: a pass before reads and writes each row once.
fn fuses_rotation(
    problem: &Problem,
    (chosen, packed): (&TileChoice, u32),
    builder: &mut PlanBuilder<'_>,
) -> Result<bool> {
    let Some(rotary) = problem.position.rotation() else {
        return Ok(false);
    };
    let shape = &problem.shape;
    let slice = problem.slice();
    let rows = (slice.q.end - slice.q.start) * packed;
    let reads = rows.div_ceil(chosen.tiling.tile_rows()) * (shape.group() / packed);
    let input = Input::of(&[&problem.q, &problem.k], &[shape.head_dim]);
    let whole = rotate::whole_chunks(rotary, 4);
    let able = whole && !problem.position.k_rotated;
    let selects = problem.mask.selected_blocks().is_some();
    let within = problem.position.within_cache;
    if within && (!able || builder.options.rotate == Some(RotateWhere::Pass)) {
        let reason = "positions within a ring are known as keys are loaded, so keys are rotated then: leave \
                      PlanOptions::rotate out, and rotate whole 4-vectors of channels"
            .into();
        return Err(Error::Strategy {
            strategy: "a rotation pass",
            reason,
        });
    }
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
        None => within || (able && reads == 1 && !selects),
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
pub(super) struct Tiled<'a> {
    pub context: Context<'a>,
    pub chosen: TileChoice,
    pub splits: u32,
    /// Query heads whose rows a tile has side by side.
    pub packed: u32,
    pub family: Family,
}

impl<'a> Tiled<'a> {
    /// Binds what the call reads, and splits it: `packed` heads' rows to each tile.
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        problem: &'a Problem,
        params: Params,
        (family, packed): (Family, u32),
        mut chosen: TileChoice,
    ) -> Result<Self> {
        let fused = fuses_rotation(problem, (&chosen, packed), builder)?;
        let mut context = Context::new(builder, problem, params, fused)?;
        context.make_inputs(builder)?;
        context.settle(builder, &mut chosen, &[]);
        select::copy_lists(builder, problem, &context.params);
        context.params.work.packed = packed;
        context.params.work.heads = problem.shape.q_heads / packed;
        let mut tiled = Self {
            context,
            chosen,
            splits: 1,
            packed,
            family,
        };
        tiled.splits = tiled.choose_splits(builder)?;
        tiled.note_splits(builder);
        Ok(tiled)
    }

    fn note_splits(&self, builder: &mut PlanBuilder<'_>) {
        let asked = builder.options.splits;
        if asked.is_some_and(|asked| asked > MOST_SPLITS) {
            builder.note(format!("more than {MOST_SPLITS} splits are never made"));
        }
        if self.splits > 1 {
            builder.note(format!(
                "the visited key tiles are split in {} parts, merged by combine",
                self.splits
            ));
        }
    }

    pub fn steps(&self, builder: &mut PlanBuilder<'_>, target: &Target) -> Result<()> {
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
        let (begin, end) = (
            params.range.q_begin * self.packed,
            params.range.q_end * self.packed,
        );
        params.work.tiles = end.div_ceil(tile_rows) - begin / tile_rows;
        let key = self.key(output, builder.options.count_tiles);
        let variant = match self.family {
            Family::Prefill => Variant::Prefill(key),
            Family::Decode => Variant::Decode(Decode(key)),
        };
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
        tile_steps(builder, variant, &bindings, &params, |b, h, tile| {
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
            k_address: self.context.k.address,
            v_address: self.context.v.address,
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

    pub(super) fn pair_flops(&self) -> u64 {
        pair_flops(self.context.problem)
    }

    /// What a tile of queries of a batch and head costs.
    fn cost(&self, params: &Params, output: Output, (b, h, tile): (u32, u32, u32)) -> Cost {
        let (shape, tiling) = (&self.context.problem.shape, &self.chosen.tiling);
        let (rows, packed) = (tiling.tile_rows(), self.packed);
        let (begin, end) = (params.range.q_begin * packed, params.range.q_end * packed);
        let start = (begin / rows + tile) * rows;
        let (first, last) = (start.max(begin), (start + rows).min(end) - 1);
        let (i0, i1) = (first / packed, last / packed);
        let visited = self.context.schedule.visited(b, h, i0, i1, tiling.tile);
        let pairs = self.context.schedule.pairs(b, h, i0, i1);
        let slice = self.context.problem.slice();
        let of = slice.k.end.div_ceil(tiling.tile) - slice.k.start / tiling.tile;
        let element = self.context.q.operand.element.size();
        let live = u64::from(last - first + 1);
        let dims = u64::from(shape.head_dim + shape.value_dim);
        Cost {
            visited,
            of: of.into(),
            flops: product([pairs, self.pair_flops(), live]) / u64::from(i1 - i0 + 1),
            read_bytes: (live * u64::from(shape.head_dim)
                + visited * u64::from(tiling.tile) * dims * tiles::loads(&self.chosen))
                * element,
            written_bytes: live
                * u64::from(self.splits)
                * (u64::from(shape.value_dim) * output.element.size() + 4),
        }
    }
}

/// 2·(D + Dv)
pub(super) fn pair_flops(problem: &Problem) -> u64 {
    2 * u64::from(problem.shape.head_dim + problem.shape.value_dim)
}

//! Forward attention over tiles of query rows, of one head or packed of several, whichever family chose them.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{Decode, Input, Output, Params, Prefill, Variant};
use crate::plan::attention::context::Context;
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{TileCounts, WorkHeads, cut, tile_steps};
use crate::plan::limits::{check_steps, product};
use crate::plan::operation::merge::{Deferred, Target, into_target, merge_partials};
use crate::plan::parts::{Axis, Lengths, Part, Parts};
use crate::plan::schedule::Schedule;
use crate::plan::source::Source;
use crate::plan::sparse::select;
use crate::plan::tile_costs::PerHead;
use crate::plan::tiles::{self, TileChoice};
use crate::plan::view::Rows;
use crate::plan::{Binding, Cost};
use crate::problem::Problem;

use super::fused_rotation::fuses_rotation;
use super::{Call, MOST_SPLITS};

/// Whose tiles they are.
#[derive(Clone, Copy)]
pub(super) enum Family {
    Prefill,
    Decode,
}

/// What all steps of a forward call share.
pub(super) struct Tiled<'a> {
    pub context: Context<'a>,
    pub chosen: TileChoice,
    /// Parts that a part's bindings hold.
    pub(super) parts: Parts,
    /// Of the visited key tiles of a part's keys.
    pub splits: u32,
    /// Query heads whose rows a tile has side by side.
    pub packed: u32,
    pub family: Family,
}

/// A run of keys that a binding holds, and what is visited of it.
struct Keys<'a> {
    range: Range<u32>,
    schedule: &'a Schedule<'a>,
    /// The first of its partial results.
    first: u32,
}

impl<'a> Tiled<'a> {
    /// Binds what the call reads, and splits it: `packed` heads' rows to each tile.
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        call: &Call<'a>,
        (family, packed): (Family, u32),
        mut chosen: TileChoice,
    ) -> Result<Self> {
        let problem = call.problem;
        let fused = fuses_rotation(problem, (&chosen, packed), builder)?;
        let mut context = match call.inputs {
            None => Context::new(builder, problem, call.params, fused)?,
            Some(inputs) => Context::of_inputs(builder, (problem, inputs), call.params, fused)?,
        };
        context.make_inputs(builder)?;
        context.settle(builder, &mut chosen, &[]);
        select::copy_lists(builder, problem, &context.params);
        context.params.work.packed = packed;
        context.params.work.heads = problem.shape.q_heads / packed;
        let units = Lengths {
            heads: packed,
            k: chosen.tiling.tile,
            ..Lengths::ONE
        };
        let mut parts = Parts::new(builder, &problem.shape, &problem.slice(), units);
        context.fit(&mut parts)?;
        call.target.fit(builder, &mut parts)?;
        parts.check()?;
        let mut tiled = Self {
            context,
            chosen,
            parts,
            splits: 1,
            packed,
            family,
        };
        tiled.splits = tiled.choose_splits(builder)?;
        tiled.note_splits(builder);
        tiled.fit_partials()?;
        tiled.parts.settle(builder)?;
        Ok(tiled)
    }

    fn note_splits(&self, builder: &mut PlanBuilder<'_>) {
        let asked = builder.options.splits;
        if asked.is_some_and(|asked| asked > MOST_SPLITS) {
            builder.note(format!("more than {MOST_SPLITS} splits are never made"));
        }
        if self.partials() > 1 {
            builder.note(format!(
                "the visited key tiles are split in {} parts, whose results a merge joins",
                self.partials()
            ));
        }
    }

    /// Runs of keys that are taken one after the other.
    pub(super) fn key_runs(&self) -> u32 {
        self.parts.count(Axis::Keys)
    }

    /// Rows per head of a ragged batch, all sequences together.
    pub(super) fn ragged_rows(&self) -> Option<u32> {
        let problem = self.context.problem;
        problem.queries().is_ragged().then(|| problem.q_sizes()[2])
    }

    pub fn steps(&self, builder: &mut PlanBuilder<'_>, target: &Target) -> Result<()> {
        let rows = self.rows_per_slice(builder);
        let queries: Vec<_> = self.parts.queries();
        let slices = queries.iter().map(|q| (q.end - q.start).div_ceil(rows));
        // Each is a step at the least.
        let slices = slices.map(u64::from).sum::<u64>();
        let heads = self.parts.heads();
        check_steps(slices.saturating_mul(heads.len() as u64))?;
        let slices: Vec<_> = queries.into_iter().flat_map(|q| cut(q, rows)).collect();
        if slices.len() * heads.len() < 2 || !builder.options.shared_outputs {
            return self.slices(builder, target, slices);
        }
        // The results may lie where later slices read: all of them wait in scratch.
        let problem = self.context.problem;
        let ragged = problem.queries().is_ragged();
        let params = self.context.params.of_rows(ragged, problem.q_sizes());
        let deferred = Deferred::new(builder, params, Rows::of(&params), target);
        self.slices(builder, &deferred.target, slices)?;
        deferred.bring(builder, target)
    }

    fn slices(
        &self,
        builder: &mut PlanBuilder<'_>,
        target: &Target,
        slices: Vec<Range<u32>>,
    ) -> Result<()> {
        let slice = self.context.problem.slice();
        let runs = match self.parts.keys() {
            one if one.len() == 1 => Vec::new(),
            runs => runs,
        };
        let part_of = |k: &Range<u32>| self.context.part_of(slice.q.clone(), k.clone());
        let problems: Vec<_> = runs.iter().map(part_of).collect();
        let schedules: Vec<_> = problems.iter().map(Schedule::new).collect();
        let of_run = |(n, (range, schedule)): (u32, (&Range<u32>, _))| Keys {
            range: range.clone(),
            schedule,
            first: n * self.splits,
        };
        let mut keys: Vec<_> = (0..).zip(runs.iter().zip(&schedules)).map(of_run).collect();
        if keys.is_empty() {
            keys.push(of_run((0, (&slice.k, &self.context.schedule))));
        }
        let part = |(batches, heads): WorkHeads, q: &Range<u32>| Part {
            batches,
            heads,
            q: q.clone(),
            k: slice.k.clone(),
        };
        let mut parts = self.parts.heads();
        if let Some(rows) = self.ragged_rows() {
            // Those with the same heads write to the same rows.
            parts.sort_by_key(|(_, heads)| heads.start);
            for same in parts.chunk_by(|a, b| a.1 == b.1) {
                let each = same
                    .iter()
                    .flat_map(|of| slices.iter().map(|q| part(of.clone(), q)));
                let each: Vec<_> = each.collect();
                let rows = Rows {
                    heads: same[0].1.clone(),
                    ..Rows::all([1, 0, rows])
                };
                self.slice(builder, target, (&each, &rows, &keys))?;
            }
            return Ok(());
        }
        for of in parts {
            for q in &slices {
                let part = part(of.clone(), q);
                let rows = part.queries();
                self.slice(builder, target, (&[part], &rows, &keys))?;
            }
        }
        Ok(())
    }

    /// Some rows, whose keys are taken run by run: those of one part, or of a ragged batch all that its parts have. Rows of
    /// sequences lie side by side in scratch as they do in memory, so what brings them to the target takes them at once.
    fn slice(
        &self,
        builder: &mut PlanBuilder<'_>,
        target: &Target,
        (parts, rows, keys): (&[Part], &Rows, &[Keys<'_>]),
    ) -> Result<()> {
        let params = self.context.params;
        if let ([keys], 1) = (keys, self.splits) {
            return into_target(
                builder,
                (&params, rows),
                target,
                |builder, params, o, lse, output| {
                    parts.iter().try_for_each(|part| {
                        let params = part.params(&params);
                        self.dispatches(builder, (part, keys), params, (o, lse), output)
                    })
                },
            );
        }
        let (o, lse) = self.partial_scratch(builder, rows)?;
        let output = Output::scratch(params.sizes.value_dim);
        let each = parts
            .iter()
            .flat_map(|part| keys.iter().map(move |keys| (part, keys)));
        for (part, keys) in each {
            let mut partial = self.partial_params(part.params(&params), rows, keys.first);
            partial.max_score.at = lse.at;
            self.dispatches(builder, (part, keys), partial, (o, lse.whole), output)?;
        }
        let of = (&params, rows);
        merge_partials(builder, of, self.partials(), Some((o, lse.lse)), target)?;
        lse.join(builder, of, self.partials(), target)
    }

    /// Dispatches of bounded cost over the query tiles of one part, and a run of keys.
    fn dispatches(
        &self,
        builder: &mut PlanBuilder<'_>,
        (part, keys): (&Part, &Keys<'_>),
        mut params: Params,
        (o, lse): (Binding, Binding),
        output: Output,
    ) -> Result<()> {
        let part = Part {
            k: keys.range.clone(),
            ..part.clone()
        };
        (params.range.k_begin, params.range.k_end) = (part.k.start, part.k.end);
        let queries = self.context.problem.queries();
        let of_rows = (self.chosen.tiling.tile_rows(), self.packed);
        let counts = TileCounts::new(builder, &mut params, queries, &part.q, of_rows)?;
        let key = self.key(output, builder.options.count_tiles);
        let variant = match self.family {
            Family::Prefill => Variant::Prefill(key),
            Family::Decode => Variant::Decode(Decode(key)),
        };
        let [q, k, v] = self.context.bind(&self.parts, &part, &mut params);
        let mut bindings = vec![("q", q), ("k", k), ("v", v), ("o", o), ("lse", lse)];
        let bias = self.context.bind_bias(&self.parts, &part);
        bindings.extend(bias.map(|bias| ("bias", bias)));
        let heads = part.heads.start / self.packed..part.heads.end / self.packed;
        let mut costs = PerHead::new(&counts, keys.schedule.heads(), |b, h, tile| {
            self.cost(&params, output, keys, (b, h, tile))
        });
        tile_steps(
            builder,
            variant,
            &bindings,
            &params,
            (&(part.batches, heads), &counts),
            |b, h, tile| costs.of(b, h, tile),
        )
    }

    fn key(&self, output: Output, count_tiles: bool) -> Prefill {
        let shape = &self.context.problem.shape;
        let input = |source: &Source, dim| Input::of(&[&source.operand], &[dim]);
        let rotary = self.context.problem.position.rotation();
        Prefill {
            strategy: self.chosen.strategy,
            tiling: self.chosen.tiling,
            q: input(&self.context.q, shape.head_dim),
            k: input(&self.context.k, shape.head_dim),
            v: input(&self.context.v, shape.value_dim),
            q_address: self.context.q.address,
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
            max_score: self.context.problem.max_score.is_some(),
            count_tiles,
        }
    }

    pub(super) fn pair_flops(&self) -> u64 {
        pair_flops(self.context.problem)
    }

    /// What a tile of queries of a batch and head costs.
    fn cost(
        &self,
        params: &Params,
        output: Output,
        keys: &Keys<'_>,
        (b, h, tile): (u32, u32, u32),
    ) -> Cost {
        let (shape, tiling) = (&self.context.problem.shape, &self.chosen.tiling);
        let (rows, packed) = (tiling.tile_rows(), self.packed);
        let queries = params.range.q_end.min(self.context.problem.queries().of(b));
        let (begin, end) = (params.range.q_begin * packed, queries * packed);
        let start = (begin / rows + tile) * rows;
        let (first, last) = (start.max(begin), (start + rows).min(end) - 1);
        let (i0, i1) = (first / packed, last / packed);
        let visited = keys.schedule.visited(b, h, i0, i1, tiling.tile);
        let pairs = keys.schedule.pairs(b, h, i0, i1);
        let of = keys.range.end.div_ceil(tiling.tile) - keys.range.start / tiling.tile;
        let [q, k, v] = [&self.context.q, &self.context.k, &self.context.v].map(|x| &x.operand);
        let pair = k.row_bytes(shape.head_dim) + v.row_bytes(shape.value_dim);
        let live = u64::from(last - first + 1);
        Cost {
            visited,
            of: of.into(),
            flops: product([pairs, self.pair_flops(), live]) / u64::from(i1 - i0 + 1),
            read_bytes: live * q.row_bytes(shape.head_dim)
                + visited * u64::from(tiling.tile) * pair * tiles::loads(&self.chosen),
            written_bytes: live
                * u64::from(self.splits)
                * (output.element.bytes(shape.value_dim.into()) + 4),
        }
    }
}

/// 2·(D + Dv)
pub(super) fn pair_flops(problem: &Problem) -> u64 {
    2 * u64::from(problem.shape.head_dim + problem.shape.value_dim)
}

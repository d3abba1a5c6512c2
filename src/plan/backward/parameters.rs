//! The gradients of the score's own parameters: ALiBi's slopes, T5's table, learned sinks; of the dense bias elsewhere.

use crate::error::{Error, Result};
use crate::kernel::{
    GradScore, GradSinks, Params, Reduce, SINK_ROWS, ScoreNumbers, Strides, T5_PARTS,
};
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{TileCounts, tile_steps};
use crate::plan::forward::splits::ITERATION_MARGIN;
use crate::plan::limits::product;
use crate::plan::parts::{Lengths, Part, Parts};
use crate::plan::schedule::Schedule;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::plan::{Binding, Cost};
use crate::problem::{Element, Layout, Operand, Role};

use super::{Last, Pass};

impl Pass<'_> {
    /// Each only where it is asked for.
    pub(super) fn score_gradients<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (request, score) = (self.request, &self.problem().score);
        if request.dbias {
            self.grad_bias(builder, last)?;
        }
        if request.dslopes {
            let target = self.slopes(builder)?;
            self.grad_numbers(builder, ScoreNumbers::Slopes, 0, 1, target)?;
        }
        if let Some(t5) = score.t5.as_ref().filter(|_| request.dt5) {
            let buckets = t5.buckets.buckets;
            let target = self.numbers(builder, Role::DT5, buckets)?;
            for begin in (0..buckets).step_by(T5_PARTS as usize) {
                let count = T5_PARTS.min(buckets - begin);
                self.grad_numbers(builder, ScoreNumbers::T5, begin, count, target)?;
            }
        }
        if request.dsinks {
            self.grad_sinks(builder)?;
        }
        Ok(())
    }

    /// S and dP.
    pub(super) fn recompute_flops(&self) -> u64 {
        2 * u64::from(self.problem().shape.head_dim + self.problem().shape.value_dim)
    }

    /// A few f32 numbers of each head.
    fn numbers(&self, builder: &mut PlanBuilder<'_>, role: Role, count: u32) -> Result<Reduced> {
        let heads = self.problem().shape.q_heads;
        let layout = Layout::heads_first(1, count, heads);
        let target = builder.output(
            role,
            &Operand::new(Element::F32, layout),
            [1, 1, count],
            heads,
        )?;
        let target = target.whole();
        Ok(Reduced {
            binding: target.binding,
            rows: Strides {
                head: 1,
                ..target.rows
            },
        })
    }

    /// A slope per head, or per batch and head: rows of the numbers of a batch.
    fn slopes(&self, builder: &mut PlanBuilder<'_>) -> Result<Reduced> {
        let (score, shape) = (&self.problem().score, &self.problem().shape);
        let target = self.numbers(builder, Role::DSlopes, score.slope_batches(shape))?;
        let mut rows = target.rows;
        rows.batch = rows.row;
        Ok(Reduced { rows, ..target })
    }

    fn grad_numbers(
        &self,
        builder: &mut PlanBuilder<'_>,
        numbers: ScoreNumbers,
        begin: u32,
        count: u32,
        target: Reduced,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        let tile_request = TileRequest {
            sums: numbers.parts(),
            ..TileRequest::grad_q(
                shape,
                self.context.pairs().saturating_mul(self.recompute_flops()),
            )
        };
        let chosen = self.choose(builder, tile_request)?;
        let rows = chosen.tiling.tile_rows();
        let mut params = self.params();
        let counts = match slice.has_pairs() {
            true => {
                let queries = self.problem().queries();
                TileCounts::new(builder, &mut params, queries, &slice.q, (rows, 1))?
            }
            false => TileCounts::Same(0),
        };
        let stride = numbers.parts();
        let tiles = counts.sum(shape.batch);
        let bytes = product([tiles, shape.q_heads.into(), stride.into(), 4]);
        let partials = builder.scratch("scratch for partial sums", bytes)?;
        let params = params.with(|p| {
            p.partials.tiles = p.work.tiles;
            p.partials.begin = begin;
            p.partials.count = count;
            p.partials.stride = stride;
            p.sharing.batches = match numbers {
                ScoreNumbers::Slopes if self.problem().score.slopes_per_batch => 1,
                _ => shape.batch,
            };
            p.sharing.heads = 1;
        });
        if tiles > 0 {
            self.partial_numbers(builder, numbers, &chosen, (&params, partials))?;
        }
        reduce(builder, params, &counts, partials, target)
    }

    /// The partial sums of all tiles of queries.
    fn partial_numbers(
        &self,
        builder: &mut PlanBuilder<'_>,
        numbers: ScoreNumbers,
        chosen: &TileChoice,
        (params, partials): (&Params, Binding),
    ) -> Result<()> {
        // Parts have whole tiles of queries, too: each has its partial sum.
        let units = Lengths {
            q: chosen.tiling.tile_rows(),
            k: chosen.tiling.tile,
            ..Lengths::ONE
        };
        let parts = self.parts(builder, units)?;
        parts.settle(builder)?;
        let mut most = 0;
        for (batches, heads) in parts.heads() {
            for q in parts.queries() {
                for (n, k) in parts.keys().into_iter().enumerate() {
                    let part = Part {
                        batches: batches.clone(),
                        heads: heads.clone(),
                        q: q.clone(),
                        k,
                    };
                    let params = params.with(|p| p.part.accumulate = u32::from(n > 0));
                    let key = GradScore(self.key(builder, chosen), numbers);
                    let to = (&params, partials);
                    most = self
                        .number_steps(builder, key, chosen, (&parts, part), to)?
                        .max(most);
                }
            }
        }
        let tile = tiles::iterations(chosen, self.problem(), builder.caps)?;
        let visited = most.saturating_mul(tile);
        within_iterations(
            builder,
            visited.saturating_add(tiles::searches(self.problem())),
        )
    }

    /// The steps of a part; answers the most tiles of keys that a workgroup visits.
    fn number_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        key: GradScore,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        (params, partials): (&Params, Binding),
    ) -> Result<u64> {
        let (tiling, begin) = (chosen.tiling, self.problem().slice().q.start);
        let rows = tiling.tile_rows();
        let (q, k) = (&part.q, &part.k);
        let first = q.start / rows;
        let mut params = params.with(|p| p.partials.first = first - begin / rows);
        let queries = self.problem().queries();
        let counts = TileCounts::new(builder, &mut params, queries, q, (rows, 1))?;
        let outputs = vec![("partials", partials)];
        let bindings = self.bind(builder, (parts, &part), &mut params, outputs);
        let problem = self.context.part_of(q.clone(), k.clone());
        let schedule = Schedule::new(&problem);
        let mut most = 0;
        let of = (part.batches.clone(), part.heads.clone());
        tile_steps(
            builder,
            key,
            &bindings,
            &params,
            (&of, &counts),
            |b, h, tile| {
                let start = (first + tile) * rows;
                let end = (start + rows).min(self.queries_end(b, q));
                let (i0, i1) = (start.max(q.start), end - 1);
                let visited = schedule.visited(b, h, i0, i1, tiling.tile);
                let pairs = schedule.pairs(b, h, i0, i1);
                most = visited.max(most);
                Cost {
                    visited,
                    of: u64::from(k.end.div_ceil(tiling.tile) - k.start / tiling.tile),
                    flops: pairs.saturating_mul(self.recompute_flops()),
                    read_bytes: self.read_bytes(chosen, visited),
                    written_bytes: u64::from(params.partials.stride) * 4,
                }
            },
        )?;
        Ok(most)
    }

    fn grad_sinks(&self, builder: &mut PlanBuilder<'_>) -> Result<()> {
        let shape = &self.problem().shape;
        let Some(sinks) = &self.problem().score.sinks else {
            return Ok(());
        };
        let target = self.numbers(builder, Role::DSinks, 1)?;
        let ragged = self.problem().queries().is_ragged();
        let params = self.params().of_rows(ragged, self.problem().q_sizes());
        let (batch, tiles) = (params.sizes.batch, params.rows().div_ceil(SINK_ROWS));
        let items = product([batch, shape.q_heads, tiles].map(u64::from));
        let partials = builder.scratch("scratch for partial sums", items * 4)?;
        let sinks_at = builder.push_values(Role::Sinks, sinks, shape.q_heads.into())?;
        let params = params.with(|p| {
            p.work.tiles = tiles;
            p.partials.count = 1;
            p.partials.stride = 1;
            p.sharing.batches = batch;
            p.sharing.heads = 1;
            p.sinks.at = sinks_at;
        });
        if items > 0 {
            let stats = self.stats.whole().binding;
            let bindings = vec![("stats", stats), ("partials", partials)];
            let cost = Cost {
                read_bytes: stats.size,
                written_bytes: items * 4,
                ..Cost::default()
            };
            builder.item_steps(GradSinks, params, bindings, items, cost)?;
        }
        reduce(builder, params, &TileCounts::Same(tiles), partials, target)
    }
}

/// Where the sums of partials go: a row per number.
#[derive(Clone, Copy)]
pub(super) struct Reduced {
    pub binding: Binding,
    pub rows: Strides,
}

/// Adds up partials over the batches and heads that share a number.
pub(super) fn reduce(
    builder: &mut PlanBuilder<'_>,
    mut params: Params,
    counts: &TileCounts,
    partials: Binding,
    target: Reduced,
) -> Result<()> {
    let (sizes, sharing) = (params.sizes, params.sharing);
    let shares = u64::from(sharing.batches) * u64::from(sharing.heads);
    let iterations = match counts {
        TileCounts::Same(tiles) => product([shares, u64::from(*tiles).max(1)]),
        TileCounts::Each(_) => shares + product([counts.sum(sizes.batch), sharing.heads.into()]),
    };
    if let Some(allowed) = builder.caps.iterations.filter(|&cap| iterations >= cap) {
        return Err(Error::Limit {
            what: "the partial sums of a parameter's gradient",
            actual: iterations,
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "call it by slices of the queries and add the gradients",
        });
    }
    params.y = target.rows;
    let [tiles, before] = counts.words(sizes.batch);
    params.partials.tiles_at = builder.push_aux(tiles)?;
    params.partials.before_at = builder.push_aux(before)?;
    let sums = u64::from(sizes.batch / sharing.batches) * u64::from(sizes.q_heads / sharing.heads);
    let items = sums * u64::from(params.partials.count);
    let bindings = vec![("partials", partials), ("sums", target.binding)];
    let cost = Cost {
        read_bytes: partials.size,
        written_bytes: items * 4,
        ..Cost::default()
    };
    builder.item_steps(Reduce, params, bindings, items, cost)
}

/// Refuses visits in which a software adapter would stop a workgroup on the way.
pub(super) fn within_iterations(builder: &PlanBuilder<'_>, visited: u64) -> Result<()> {
    let actual = visited.saturating_add(ITERATION_MARGIN);
    match builder.caps.iterations.filter(|&cap| actual > cap) {
        Some(allowed) => Err(Error::Limit {
            what: "the loops in which a gradient of the score's parameters is summed",
            actual,
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "call it by slices of the keys, or by fewer batches and heads that share a bias, and add the \
                      gradients",
        }),
        None => Ok(()),
    }
}

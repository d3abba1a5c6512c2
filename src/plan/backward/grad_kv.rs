//! dK and dV by tiles of keys, each of which visits the queries of its group's heads that see it.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{GradKv, Gradient};
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::cost::PerHead;
use crate::plan::dispatch::{cut, tile_steps};
use crate::plan::limits::check_parts;
use crate::plan::schedule::{Schedule, Transposed};
use crate::plan::tiles::{TileChoice, TileRequest};
use crate::problem::Role;
use crate::problem::position::Side;

use super::target::{Target, Tensor};
use super::visits::parts;
use super::{Last, Pass};

impl Pass<'_> {
    pub(super) fn grad_kv<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        let tile_request = TileRequest::grad_kv(
            shape,
            self.context.pairs().saturating_mul(self.kv_pair_flops()),
        );
        let chosen = self.choose(builder, tile_request)?;
        let [dk, dv] = self.kv_tensors();
        let (dk_target, dv_target) = if self.context.score.bias.is_some() {
            Target::joined(
                builder,
                self,
                (&dk, &self.request.dk),
                (&dv, &self.request.dv),
            )?
        } else {
            (
                Target::of(builder, self, &dk, &self.request.dk)?,
                Target::of(builder, self, &dv, &self.request.dv)?,
            )
        };
        let mut params = self.by_keys(builder)?;
        (params.dk, params.dv, params.work.heads) =
            (dk_target.rows, dv_target.rows, shape.kv_heads);
        let key = GradKv(Gradient {
            score: self.context.score.key,
            ..self.key(builder, &chosen)
        });
        let outputs = match self.context.score.bias {
            Some(_) => vec![("dk", dk_target.whole)],
            None => vec![("dk", dk_target.binding), ("dv", dv_target.binding)],
        };
        let bindings = self.bindings(builder, outputs);
        let rows = chosen.tiling.tile_rows();
        params.work.tiles = slice.k.end.div_ceil(rows) - slice.k.start / rows;
        for (step, (h, q)) in self.cut_queries(builder, &chosen)?.enumerate() {
            params.part.accumulate = u32::from(step > 0);
            (params.part.group_begin, params.part.group_end) = (h.start, h.end);
            (params.range.q_begin, params.range.q_end) = (q.start, q.end);
            let part = self.part_of(q.clone(), slice.k.clone());
            let schedule = Schedule::new(&part).transposed();
            let alike = schedule.heads() == 1;
            let kv_heads = if alike { 1 } else { shape.kv_heads };
            let mut costs = PerHead::new(params.work.tiles, kv_heads, |b, kv_head, tile| {
                self.kv_cost(&chosen, &schedule, (&h, &q), (b, kv_head, tile))
            });
            tile_steps(builder, key, &bindings, &params, |b, h, tile| {
                costs.of(b, h, tile)
            })?;
        }
        self.note_choice(builder, &chosen);
        last.push(dk_target.finish(self, dk, &self.request.dk));
        last.push(dv_target.finish(self, dv, &self.request.dv));
        Ok(())
    }

    /// What a choice of blocks leaves of the tiles, all together. Each step is cut as if its keys were seen by all queries
    /// that may see them: which block of keys is chosen how often only the device knows.
    fn note_choice(&self, builder: &mut PlanBuilder<'_>, chosen: &TileChoice) {
        let (problem, slice) = (self.problem(), self.problem().slice());
        if problem.mask.selected_blocks().is_none() || slice.q.is_empty() {
            return;
        }
        let schedule = &self.context.schedule;
        let (heads, columns) = (schedule.heads(), chosen.tiling.tile);
        let visited = |b: u32, h: u32| -> u64 {
            parts(slice.q.clone(), columns, columns)
                .map(|i| schedule.visited(b, h, i.start, i.end - 1, chosen.tiling.tile_rows()))
                .sum()
        };
        let each = (0..problem.shape.batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
        let all = each.map(|(b, h)| visited(b, h)).sum::<u64>();
        let most = all.saturating_mul(u64::from(problem.shape.q_heads / heads));
        builder.note(format!(
            "grad_kv visits at most {most} tiles in all: blocks are chosen on the device, and its cost is that of all of them"
        ));
    }

    /// S, dP, dK and dV
    fn kv_pair_flops(&self) -> u64 {
        4 * u64::from(self.problem().shape.head_dim + self.problem().shape.value_dim)
    }

    fn kv_tensors(&self) -> [Tensor; 2] {
        let (shape, position) = (&self.problem().shape, &self.problem().position);
        let dk = Tensor {
            role: Role::DK,
            side: position.rotates(Side::Key).then_some(Side::Key),
            heads: shape.kv_heads,
            rows: self.problem().slice().k,
            len: shape.kv_len,
            dim: shape.head_dim,
        };
        let dv = Tensor {
            role: Role::DV,
            side: None,
            dim: shape.value_dim,
            ..dk.clone()
        };
        [dk, dv]
    }

    /// The heads of a group and the queries that each dispatch visits: heads one by one before queries are cut.
    fn cut_queries(
        &self,
        builder: &PlanBuilder<'_>,
        chosen: &TileChoice,
    ) -> Result<impl Iterator<Item = (Range<u32>, Range<u32>)> + use<>> {
        let (group, q) = (self.problem().shape.group(), self.problem().slice().q);
        let tile = chosen.tiling.tile;
        let tile_flops = u64::from(tile * chosen.tiling.tile_rows()) * self.kv_pair_flops();
        let all = q.len() as u32;
        let mut queries = self.part(builder, chosen, all, group, tile_flops)?;
        let heads = if queries < all { 1 } else { group };
        if heads < group {
            queries = self.part(builder, chosen, all, 1, tile_flops)?;
        }
        queries = queries.min(builder.options.slice_rows.unwrap_or(u32::MAX).max(1));
        let of_heads = u64::from(group.div_ceil(heads));
        let of_queries = u64::from(all.div_ceil(queries.next_multiple_of(tile)));
        let shape = &self.problem().shape;
        check_parts(of_heads * of_queries, [shape.batch, shape.kv_len])?;
        Ok(cut(0..group, heads)
            .flat_map(move |h| parts(q.clone(), queries, tile).map(move |q| (h.clone(), q))))
    }

    /// What a tile of keys costs that visits the queries `q` of the heads `h` of its group.
    fn kv_cost(
        &self,
        chosen: &TileChoice,
        schedule: &Transposed<'_>,
        (h, q): (&Range<u32>, &Range<u32>),
        (b, kv_head, tile): (u32, u32, u32),
    ) -> Cost {
        let (shape, k) = (&self.problem().shape, self.problem().slice().k);
        let (rows, columns) = (chosen.tiling.tile_rows(), chosen.tiling.tile);
        let start = (k.start / rows + tile) * rows;
        let (j0, j1) = (start.max(k.start), (start + rows).min(k.end) - 1);
        let heads = u64::from(h.end - h.start);
        let first = kv_head * shape.group();
        // Query heads with the same visits are counted once and multiplied.
        let (visits, times) = match schedule.heads() {
            1 => (0..1, heads),
            _ => (first + h.start..first + h.end, 1),
        };
        let of_head = |h| {
            (
                schedule.seen_by_tiles(b, h, j0, j1, columns),
                schedule.seen_by_pairs(b, h, j0, j1),
            )
        };
        let (visited, pairs) = visits.map(of_head).fold((0u64, 0u64), |sum, x| {
            let add = |sum: u64, x: u64| sum.saturating_add(times.saturating_mul(x));
            (add(sum.0, x.0), add(sum.1, x.1))
        });
        Cost {
            visited,
            of: heads * u64::from(q.end.div_ceil(columns) - q.start / columns),
            flops: pairs.saturating_mul(self.kv_pair_flops()),
            read_bytes: self.read_bytes(chosen, visited),
            written_bytes: u64::from(j1 - j0 + 1) * u64::from(shape.head_dim + shape.value_dim) * 4,
        }
    }
}

//! dK and dV by tiles of keys, each of which visits the queries of its group's heads that see it.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{GradKv, Gradient, Strides};
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{TileCounts, WorkHeads, cut, tile_steps};
use crate::plan::limits::{check_parts, product};
use crate::plan::parts::{Axis, Lengths, Part, Parts, RowsOf};
use crate::plan::schedule::{Schedule, Transposed};
use crate::plan::step::Bindings;
use crate::plan::tile_costs::PerHead;
use crate::plan::tiles::{TileChoice, TileRequest};
use crate::plan::view::Rows;
use crate::problem::Role;
use crate::problem::position::Side;

use super::target::{Joined, JoinedOutputs, Target, Tensor, joined_bytes};
use super::visits::{count_pieces, pieces};
use super::{Last, Pass};

impl Pass<'_> {
    pub(super) fn grad_kv<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let tile_request = TileRequest::grad_kv(
            &self.problem().shape,
            self.context.pairs().saturating_mul(self.kv_pair_flops()),
        );
        let chosen = self.choose(builder, tile_request)?;
        let tensors = self.kv_tensors();
        let units = Lengths {
            q: chosen.tiling.tile,
            ..Lengths::ONE
        };
        let mut parts = self.parts(builder, units)?;
        match self.context.score.bias {
            Some(_) => self.joined_kv(builder, last, (&chosen, parts), tensors)?,
            None => {
                let [dk, dv] = tensors;
                let dk_target = Target::of(builder, self, &dk, &self.request.dk)?;
                let dv_target = Target::of(builder, self, &dv, &self.request.dv)?;
                dk_target.fit(dk.role.name(), &mut parts, RowsOf::Keys)?;
                dv_target.fit(dv.role.name(), &mut parts, RowsOf::Keys)?;
                parts.settle(builder)?;
                for (heads, k) in heads_and_keys(&parts) {
                    let part = self.kv_part(&heads, &k);
                    let [to_k, to_v] = [&dk_target.view, &dv_target.view]
                        .map(|view| parts.bind(view, RowsOf::Keys, &part));
                    let outputs = vec![("dk", to_k.binding), ("dv", to_v.binding)];
                    let to = (outputs, [to_k.rows, to_v.rows]);
                    self.kv_steps(builder, &chosen, (&parts, part), to)?;
                }
                last.push(dk_target.finish(self, dk, &self.request.dk));
                last.push(dv_target.finish(self, dv, &self.request.dv));
            }
        }
        self.note_choice(builder, &chosen);
        Ok(())
    }

    /// With a bias the kernel has one binding for dk and dv: each part has both in a piece of one buffer.
    fn joined_kv<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
        (chosen, mut parts): (&TileChoice, Parts),
        [dk, dv]: [Tensor; 2],
    ) -> Result<()> {
        let (request, group) = (self.request, self.problem().shape.group());
        let outputs = JoinedOutputs::new(builder, (&dk, &request.dk), (&dv, &request.dv))?;
        let bytes = |n: &Lengths| {
            let heads = u64::from(n.heads.div_ceil(group));
            let rows = product([n.batches.into(), heads, n.k.into()]);
            joined_bytes(rows, [dk.dim, dv.dim])
        };
        let all = bytes(&parts.lengths());
        let axes = [Axis::Batches, Axis::Heads, Axis::Keys];
        parts.fit_by("scratch for dk and dv", (all, bytes), &axes)?;
        parts.settle(builder)?;
        let most = bytes(&parts.lengths());
        let mut places: Vec<(Rows, Joined)> = Vec::new();
        for (heads, k) in heads_and_keys(&parts) {
            let part = self.kv_part(&heads, &k);
            let rows = part.keys(group);
            // Heads of one group add to the same place.
            let known = places.iter().position(|(of, _)| *of == rows);
            let n = known.unwrap_or_else(|| {
                let n = places.len();
                let at = (n as u64, most);
                let place = outputs.part(builder, [&dk, &dv], &rows, at);
                places.push((rows, place));
                n
            });
            let place = &places[n].1;
            let to = (vec![("dk", place.binding)], place.strides);
            self.kv_steps(builder, chosen, (&parts, part), to)?;
        }
        for (_, place) in places {
            last.push(place.dk.finish(self, dk.clone(), &request.dk));
            last.push(place.dv.finish(self, dv.clone(), &request.dv));
        }
        Ok(())
    }

    /// Some heads and keys, and all queries.
    fn kv_part(&self, (batches, heads): &WorkHeads, k: &Range<u32>) -> Part {
        Part {
            batches: batches.clone(),
            heads: heads.clone(),
            q: self.problem().slice().q,
            k: k.clone(),
        }
    }

    /// The steps of a part, over its queries one run after the other.
    fn kv_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        (outputs, [dk, dv]): (Bindings, [Strides; 2]),
    ) -> Result<()> {
        let shape = &self.problem().shape;
        let group = shape.group();
        let mut params = self.by_keys(builder)?;
        (params.dk, params.dv, params.work.heads) = (dk, dv, shape.kv_heads);
        let key = GradKv(Gradient {
            score: self.context.score.key,
            ..self.key(builder, chosen)
        });
        let (rows, k) = (chosen.tiling.tile_rows(), part.k.clone());
        let keys = self.problem().keys();
        let counts = TileCounts::new(builder, &mut params, keys, &k, (rows, 1))?;
        let kv_heads = part.kv_heads(group);
        // Of a group, all that the part has.
        let first = part.heads.start - kv_heads.start * group;
        let of_group = first..(part.heads.end - kv_heads.start * group).min(group);
        // Heads of the group that came before have written what these add to.
        let mut adds = first > 0;
        let of = (part.batches.clone(), kv_heads);
        for (h, q) in self.cut_queries(builder, chosen, (parts, of_group))? {
            params.part.accumulate = u32::from(adds);
            adds = true;
            (params.part.group_begin, params.part.group_end) = (h.start, h.end);
            let step = Part {
                q: q.clone(),
                ..part.clone()
            };
            let bindings = self.bind(builder, (parts, &step), &mut params, outputs.clone());
            let problem = self.context.part_of(q.clone(), k.clone());
            let schedule = Schedule::new(&problem).transposed();
            let alike = schedule.heads() == 1;
            let differing = if alike { 1 } else { shape.kv_heads };
            let mut costs = PerHead::new(&counts, differing, |b, kv_head, tile| {
                self.kv_cost(chosen, &schedule, (&h, &q, &k), (b, kv_head, tile))
            });
            tile_steps(
                builder,
                key,
                &bindings,
                &params,
                (&of, &counts),
                |b, h, tile| costs.of(b, h, tile),
            )?;
        }
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
            pieces(slice.q.clone(), columns, columns)
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
        let (problem, shape) = (self.problem(), &self.problem().shape);
        let dk = Tensor {
            role: Role::DK,
            side: problem.position.rotates(Side::Key).then_some(Side::Key),
            sizes: problem.kv_sizes(),
            rows: problem.keys().rows_of(problem.slice().k),
            dim: shape.head_dim,
            address: self.context.v.address,
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
        (cuts, of_group): (&Parts, Range<u32>),
    ) -> Result<Vec<(Range<u32>, Range<u32>)>> {
        let (group, runs) = (of_group.len() as u32, cuts.queries());
        let tile = chosen.tiling.tile;
        let tile_flops = u64::from(tile * chosen.tiling.tile_rows()) * self.kv_pair_flops();
        let all = runs.iter().map(|q| q.len() as u32).max().unwrap_or(0);
        let mut queries = self.part(builder, chosen, all, group, tile_flops)?;
        let heads = if queries < all { 1 } else { group };
        if heads < group {
            queries = self.part(builder, chosen, all, 1, tile_flops)?;
        }
        queries = queries.min(builder.options.slice_rows.unwrap_or(u32::MAX).max(1));
        let of_heads = u64::from(group.div_ceil(heads));
        let of_queries = runs
            .iter()
            .map(|q| count_pieces(q, queries, tile))
            .sum::<u64>();
        let shape = &self.problem().shape;
        check_parts(of_heads * of_queries, [shape.batch, shape.kv_len])?;
        let queries = runs.into_iter().flat_map(|q| pieces(q, queries, tile));
        let queries: Vec<_> = queries.collect();
        let with_queries = |h: Range<u32>| queries.iter().map(move |q| (h.clone(), q.clone()));
        Ok(cut(of_group, heads).flat_map(with_queries).collect())
    }

    /// What a tile of keys costs that visits the queries `q` of the heads `h` of its group.
    fn kv_cost(
        &self,
        chosen: &TileChoice,
        schedule: &Transposed<'_>,
        (h, q, k): (&Range<u32>, &Range<u32>, &Range<u32>),
        (b, kv_head, tile): (u32, u32, u32),
    ) -> Cost {
        let shape = &self.problem().shape;
        let (rows, columns) = (chosen.tiling.tile_rows(), chosen.tiling.tile);
        let start = (k.start / rows + tile) * rows;
        let end = (start + rows).min(self.keys_end(b, k));
        let (j0, j1) = (start.max(k.start), end - 1);
        let heads = u64::from(h.end - h.start);
        let first = kv_head * shape.group();
        // Query heads with the same visits are counted once and multiplied.
        let (visits, times) = match schedule.heads() {
            1 => (0..1, heads),
            _ => (first + h.start..first + h.end, 1),
        };
        let of_head = |h| {
            (
                schedule.tiles_visible_to(b, h, j0, j1, columns),
                schedule.pairs_visible_to(b, h, j0, j1),
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

/// Batches and heads, and keys, of the parts that have dk and dv of their own.
fn heads_and_keys(parts: &Parts) -> Vec<(WorkHeads, Range<u32>)> {
    let keys = parts.keys();
    let with_keys = |heads: WorkHeads| keys.iter().map(move |k| (heads.clone(), k.clone()));
    parts.heads().into_iter().flat_map(with_keys).collect()
}

//! dQ by tiles of queries, each of which visits the keys that it sees.

use crate::error::Result;
use crate::kernel::GradQ;
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{TileCounts, cut, tile_steps};
use crate::plan::limits::{check_parts, check_steps, product};
use crate::plan::parts::{Lengths, Part, Parts, RowsOf};
use crate::plan::schedule::Schedule;
use crate::plan::tile_costs::PerHead;
use crate::plan::tiles::{TileChoice, TileRequest};
use crate::plan::view::Bound;
use crate::problem::Role;
use crate::problem::position::Side;
use crate::tuning::KernelFamily;

use super::target::{Target, Tensor};
use super::visits::{count_pieces, pieces};
use super::{Last, Pass};

impl Pass<'_> {
    pub(super) fn grad_q<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        let pair_flops = self.q_pair_flops();
        let tile_request =
            TileRequest::grad_q(shape, self.context.pairs().saturating_mul(pair_flops))
                .of_kernel(KernelFamily::GradQ);
        let chosen = self.choose(builder, tile_request)?;
        let place = Tensor {
            role: Role::DQ,
            side: Some(Side::Query),
            sizes: self.problem().q_sizes(),
            rows: self.problem().queries().rows_of(slice.q.clone()),
            dim: shape.head_dim,
            address: self.context.q.address,
        };
        let target = Target::of(builder, self, &place, &self.request.dq)?;
        let tiling = chosen.tiling;
        let mut parts = self.parts(
            builder,
            Lengths {
                k: tiling.tile,
                ..Lengths::ONE
            },
        )?;
        target.fit(place.role.name(), &mut parts, RowsOf::Queries)?;
        parts.settle(builder)?;
        let tile_flops = u64::from(tiling.tile * tiling.tile_rows()) * pair_flops;
        let keys = self.part(builder, &chosen, slice.k.len() as u32, 1, tile_flops)?;
        let slice_rows = builder.options.slice_rows.unwrap_or(u32::MAX).max(1);
        let (heads, k) = (parts.heads(), parts.keys());
        let of_keys = k.iter().map(|k| count_pieces(k, keys, tiling.tile)).sum();
        let q = parts.queries();
        let of_queries = q.iter().map(|q| count_pieces(q, slice_rows, 1)).sum();
        check_steps(product([of_keys, of_queries, heads.len() as u64]))?;
        check_parts(of_keys, [shape.batch, shape.q_len])?;
        let cut_keys = |k| pieces(k, keys, tiling.tile);
        let k: Vec<_> = k.into_iter().flat_map(cut_keys).collect();
        let q: Vec<_> = q.into_iter().flat_map(|q| cut(q, slice_rows)).collect();
        for (batches, heads) in heads {
            for q in &q {
                for (n, k) in k.iter().enumerate() {
                    let part = Part {
                        batches: batches.clone(),
                        heads: heads.clone(),
                        q: q.clone(),
                        k: k.clone(),
                    };
                    let to = parts.bind(&target.view, RowsOf::Queries, &part);
                    self.q_steps(builder, &chosen, (&parts, part), (n > 0, to))?;
                }
            }
        }
        last.push(target.finish(self, place, &self.request.dq));
        Ok(())
    }

    /// The steps of a part, whose rows of dQ lie in `to`: written, or added to what lies there.
    fn q_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        (adds, to): (bool, Bound),
    ) -> Result<()> {
        let tiling = chosen.tiling;
        let mut params = self.params();
        params.dq = to.rows;
        params.part.accumulate = u32::from(adds);
        let outputs = vec![("dq", to.binding)];
        let bindings = self.bind(builder, (parts, &part), &mut params, outputs);
        let problem = self.context.part_of(part.q.clone(), part.k.clone());
        let schedule = Schedule::new(&problem);
        let (q, k) = (&part.q, &part.k);
        let first = q.start / tiling.tile_rows();
        let (queries, of_rows) = (self.problem().queries(), (tiling.tile_rows(), 1));
        let counts = TileCounts::new(builder, &mut params, queries, q, of_rows)?;
        let of = (k.end.div_ceil(tiling.tile) - k.start / tiling.tile).into();
        let rows = |b: u32, tile: u32| {
            let start = (first + tile) * tiling.tile_rows();
            let end = (start + tiling.tile_rows()).min(self.queries_end(b, q));
            (start.max(q.start), end - 1)
        };
        let mut costs = PerHead::new(&counts, schedule.heads(), |b, h, tile| {
            let (i0, i1) = rows(b, tile);
            let visited = schedule.visited(b, h, i0, i1, tiling.tile);
            let head_dim = u64::from(self.problem().shape.head_dim);
            Cost {
                visited,
                of,
                flops: schedule
                    .pairs(b, h, i0, i1)
                    .saturating_mul(self.q_pair_flops()),
                read_bytes: self.read_bytes(chosen, visited),
                written_bytes: u64::from(i1 - i0 + 1) * head_dim * 4,
            }
        });
        let key = GradQ(self.key(builder, chosen));
        let of = (part.batches.clone(), part.heads.clone());
        tile_steps(
            builder,
            key,
            &bindings,
            &params,
            (&of, &counts),
            |b, h, tile| costs.of(b, h, tile),
        )
    }

    /// S, dP and dQ
    fn q_pair_flops(&self) -> u64 {
        let shape = &self.problem().shape;
        2 * u64::from(2 * shape.head_dim + shape.value_dim)
    }
}

//! dQ by tiles of queries, each of which visits the keys that it sees.

use crate::error::Result;
use crate::kernel::GradQ;
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::cost::PerHead;
use crate::plan::dispatch::{cut, tile_steps};
use crate::plan::limits::{check_parts, check_steps};
use crate::plan::schedule::Schedule;
use crate::plan::tiles::TileRequest;
use crate::problem::Role;
use crate::problem::position::Side;

use super::target::{Target, Tensor};
use super::visits::parts;
use super::{Last, Pass};

impl Pass<'_> {
    pub(super) fn grad_q<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        // S, dP and dQ
        let pair_flops = 2 * u64::from(2 * shape.head_dim + shape.value_dim);
        let tile_request =
            TileRequest::grad_q(shape, self.context.pairs().saturating_mul(pair_flops));
        let chosen = self.choose(builder, tile_request)?;
        let place = Tensor {
            role: Role::DQ,
            side: Some(Side::Query),
            heads: shape.q_heads,
            rows: slice.q.clone(),
            len: shape.q_len,
            dim: shape.head_dim,
        };
        let target = Target::of(builder, self, &place, &self.request.dq)?;
        let mut params = self.params();
        params.dq = target.rows;
        let key = GradQ(self.key(builder, &chosen));
        let bindings = self.bindings(builder, vec![("dq", target.binding)]);
        let tiling = chosen.tiling;
        let tile_flops = u64::from(tiling.tile * tiling.tile_rows()) * pair_flops;
        let keys = self.part(builder, &chosen, slice.k.len() as u32, 1, tile_flops)?;
        let slice_rows = builder.options.slice_rows.unwrap_or(u32::MAX);
        let of_keys =
            u64::from((slice.k.len() as u32).div_ceil(keys.next_multiple_of(tiling.tile)));
        check_steps(of_keys * u64::from((slice.q.len() as u32).div_ceil(slice_rows)))?;
        check_parts(of_keys, [shape.batch, shape.q_len])?;
        for q in cut(
            slice.q.clone(),
            builder.options.slice_rows.unwrap_or(u32::MAX).max(1),
        ) {
            for (n, k) in parts(slice.k.clone(), keys, tiling.tile).enumerate() {
                params.part.accumulate = u32::from(n > 0);
                (params.range.q_begin, params.range.q_end) = (q.start, q.end);
                (params.range.k_begin, params.range.k_end) = (k.start, k.end);
                let part = self.part_of(q.clone(), k.clone());
                let schedule = Schedule::new(&part);
                let first = q.start / tiling.tile_rows();
                params.work.tiles = q.end.div_ceil(tiling.tile_rows()) - first;
                let of = (k.end.div_ceil(tiling.tile) - k.start / tiling.tile).into();
                let rows = |tile: u32| {
                    let start = (first + tile) * tiling.tile_rows();
                    (
                        start.max(q.start),
                        (start + tiling.tile_rows()).min(q.end) - 1,
                    )
                };
                let mut costs = PerHead::new(params.work.tiles, schedule.heads(), |b, h, tile| {
                    let (i0, i1) = rows(tile);
                    let visited = schedule.visited(b, h, i0, i1, tiling.tile);
                    Cost {
                        visited,
                        of,
                        flops: schedule.pairs(b, h, i0, i1).saturating_mul(pair_flops),
                        read_bytes: self.read_bytes(&chosen, visited),
                        written_bytes: u64::from(i1 - i0 + 1) * u64::from(shape.head_dim) * 4,
                    }
                });
                tile_steps(builder, key, &bindings, &params, |b, h, tile| {
                    costs.of(b, h, tile)
                })?;
            }
        }
        last.push(target.finish(self, place, &self.request.dq));
        Ok(())
    }
}

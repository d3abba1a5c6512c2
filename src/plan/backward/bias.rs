//! The gradient of a dense bias: a number for each pair, or for each key where queries share it.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{GradBias, GradKeyBias, Gradient, Params, Strides};
use crate::plan::builder::{Bound, PlanBuilder};
use crate::plan::cost::PerHead;
use crate::plan::dispatch::tile_steps;
use crate::plan::limits::product;
use crate::plan::operation::merge::pack;
use crate::plan::schedule::Schedule;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::plan::{Binding, Cost};
use crate::problem::{Element, Layout, Operand, Role};

use super::parameters::{Reduced, reduce, within_iterations};
use super::visits::parts;
use super::{Last, Pass};

/// Sizes of dbias `[B|1, Hq|1, Nq|1, Nk]`: 1 on each axis that the bias is broadcast over.
#[derive(Clone, Copy)]
struct Sizes {
    batches: u32,
    heads: u32,
    rows: u32,
}

impl Pass<'_> {
    pub(super) fn grad_bias<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let shape = &self.problem().shape;
        let Some(layout) = &self.problem().score.bias else {
            return Ok(());
        };
        let size = |stride: u64, size: u32| if stride == 0 && size > 1 { 1 } else { size };
        let sizes = Sizes {
            batches: size(layout.batch, shape.batch),
            heads: size(layout.head, shape.q_heads),
            rows: size(layout.row, shape.q_len),
        };
        let layout = Layout::heads_first(sizes.heads, sizes.rows, shape.kv_len);
        let target = builder.output(
            Role::DBias,
            &Operand::new(Element::F32, layout),
            [sizes.batches, sizes.heads, sizes.rows],
            shape.kv_len,
        )?;
        match sizes.rows < shape.q_len {
            true => self.grad_key_bias(builder, sizes, target, last),
            false => self.grad_pair_bias(builder, sizes, target, last),
        }
    }

    /// Each query has its own: a workgroup sums a tile over the batches and heads that share it.
    fn grad_pair_bias<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        sizes: Sizes,
        target: Bound,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        if slice.q.is_empty() || slice.k.is_empty() {
            return Ok(());
        }
        let (binding, rows) = self.pair_bias_target(builder, sizes, target)?;
        let mut chosen = self.choose(
            builder,
            TileRequest::grad_q(
                shape,
                self.context.pairs().saturating_mul(self.recompute_flops()),
            ),
        )?;
        // A tile is one step of keys.
        chosen.tiling.tile = chosen.tiling.keys;
        let tiling = chosen.tiling;
        let first = slice.q.start / tiling.tile_rows();
        let tiles = slice.k.end.div_ceil(tiling.tile) - slice.k.start / tiling.tile;
        let params = self.params().with(|p| {
            p.d_bias = rows;
            p.sizes.batch = sizes.batches;
            p.work.heads = sizes.heads;
            p.work.splits = tiles;
            p.work.tiles = slice.q.end.div_ceil(tiling.tile_rows()) - first;
            p.sharing.batches = shape.batch / sizes.batches;
            p.sharing.heads = shape.q_heads / sizes.heads;
        });
        let key = GradBias(self.key(builder, &chosen));
        let bindings = self.bindings(builder, vec![("d_bias", binding)]);
        let shares = product([params.sharing.batches, params.sharing.heads].map(u64::from));
        let visited = product([shares, tiles.into()]);
        let pairs = product([visited, tiling.tile.into(), tiling.tile_rows().into()]);
        let cost = Cost {
            visited,
            of: visited,
            flops: pairs.saturating_mul(self.recompute_flops()),
            read_bytes: pairs.saturating_mul(4),
            written_bytes: u64::from(tiling.tile_rows()) * u64::from(shape.kv_len) * 4,
        };
        tile_steps(builder, key, &bindings, &params, |_, _, _| cost)?;
        // A workgroup has one tile of keys; it loads its rows anew for each that shares the bias.
        let turn = tiles::iterations(&chosen, self.problem(), builder.caps)?
            + tiles::row_loads(&chosen, shape)
            + tiles::searches(self.problem())
            + 2;
        within_iterations(builder, shares.saturating_mul(turn))?;
        if builder.options.shared_outputs {
            let params = params.with(|p| p.sizes.q_heads = sizes.heads);
            let dim = shape.kv_len;
            last.push(Box::new(move |builder| {
                pack(builder, (&params, dim), binding, &target, Element::F32)
            }));
        }
        Ok(())
    }

    /// The caller's tensor, or scratch where that may be an operand's buffer.
    fn pair_bias_target(
        &self,
        builder: &mut PlanBuilder<'_>,
        sizes: Sizes,
        target: Bound,
    ) -> Result<(Binding, Strides)> {
        let (kv_len, slice) = (self.problem().shape.kv_len, self.problem().slice());
        if !builder.options.shared_outputs {
            return Ok((target.binding, target.rows));
        }
        if slice.k != (0..kv_len) {
            return Err(Error::Strategy {
                strategy: "dbias by a slice of the keys",
                reason: "it shares its buffer with another operand; give it one of its own".into(),
            });
        }
        let count = slice.q.len() as u32;
        let rows = product([sizes.batches, sizes.heads, count].map(u64::from));
        let scratch = builder.scratch("scratch for dbias", product([rows, kv_len.into(), 4]))?;
        let strides = Strides::contiguous(sizes.heads, count, kv_len, slice.q.start);
        Ok((scratch, strides))
    }

    /// Queries share it: sums by tiles of keys, a number per query head and key, and of these the sums over the batches
    /// and heads that share it.
    fn grad_key_bias<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        sizes: Sizes,
        target: Bound,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        if slice.k.is_empty() {
            return Ok(());
        }
        let count = slice.k.len() as u32;
        let bytes = product([shape.batch, shape.q_heads, count, 4].map(u64::from));
        let partials = builder.scratch("scratch for the sums of dbias", bytes)?;
        let params = self.params().with(|p| {
            p.partials.begin = slice.k.start;
            p.partials.count = count;
            p.partials.stride = count;
        });
        if !slice.q.is_empty() {
            self.sums_of_keys(builder, params.partials.stride, partials)?;
        }
        let params = params.with(|p| {
            p.work.tiles = u32::from(!slice.q.is_empty());
            p.sharing.batches = shape.batch / sizes.batches;
            p.sharing.heads = shape.q_heads / sizes.heads;
        });
        let sums = Reduced {
            binding: target.binding,
            rows: Strides {
                row: 1,
                ..target.rows
            },
        };
        // It may lie where an operand lay that other kernels still read.
        last.push(Box::new(move |builder| {
            reduce(builder, params, partials, sums)
        }));
        Ok(())
    }

    fn sums_of_keys(
        &self,
        builder: &mut PlanBuilder<'_>,
        stride: u32,
        partials: Binding,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        let flops = self.context.pairs().saturating_mul(self.recompute_flops());
        let chosen = self.choose(builder, TileRequest::grad_key_bias(shape, flops))?;
        let tiling = chosen.tiling;
        let mut params = self.by_keys(builder)?.with(|p| {
            p.partials.stride = stride;
            p.work.tiles =
                slice.k.end.div_ceil(tiling.tile_rows()) - slice.k.start / tiling.tile_rows();
        });
        let key = GradKeyBias(Gradient {
            score: self.context.score.key,
            ..self.key(builder, &chosen)
        });
        let bindings = self.bindings(builder, vec![("partials", partials)]);
        let tile_flops = product([
            tiling.tile.into(),
            tiling.tile_rows().into(),
            self.recompute_flops(),
        ]);
        let queries = self.part(builder, &chosen, slice.q.len() as u32, 1, tile_flops)?;
        for (n, q) in parts(slice.q, queries, tiling.tile).enumerate() {
            params.part.accumulate = u32::from(n > 0);
            (params.range.q_begin, params.range.q_end) = (q.start, q.end);
            self.key_bias_steps(builder, key, &chosen, &bindings, (&params, q))?;
        }
        Ok(())
    }

    fn key_bias_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        key: GradKeyBias,
        chosen: &TileChoice,
        bindings: &Vec<(&'static str, Binding)>,
        (params, q): (&Params, Range<u32>),
    ) -> Result<()> {
        let (k, rows) = (self.problem().slice().k, chosen.tiling.tile_rows());
        let part = self.part_of(q.clone(), k.clone());
        let schedule = Schedule::new(&part).transposed();
        let of = u64::from(q.end.div_ceil(chosen.tiling.tile) - q.start / chosen.tiling.tile);
        let mut costs = PerHead::new(params.work.tiles, schedule.heads(), |b, h, tile| {
            let start = (k.start / rows + tile) * rows;
            let (j0, j1) = (start.max(k.start), (start + rows).min(k.end) - 1);
            let visited = schedule.seen_by_tiles(b, h, j0, j1, chosen.tiling.tile);
            Cost {
                visited,
                of,
                flops: product([schedule.seen_by_pairs(b, h, j0, j1), self.recompute_flops()]),
                read_bytes: self.read_bytes(chosen, visited),
                written_bytes: u64::from(j1 - j0 + 1) * 4,
            }
        });
        tile_steps(builder, key, bindings, params, |b, h, tile| {
            costs.of(b, h, tile)
        })
    }
}

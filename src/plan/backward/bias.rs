//! The gradient of a dense bias: a number for each pair, or for each key where queries share it.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{GradBias, GradKeyBias, Gradient, Strides};
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{TileCounts, tile_steps};
use crate::plan::limits::product;
use crate::plan::operation::pack::pack;
use crate::plan::parts::{Axis, Lengths, Part, Parts, RowsOf};
use crate::plan::schedule::Schedule;
use crate::plan::tile_costs::PerHead;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::plan::view::{Rows, View};
use crate::plan::{Cost, OFFSET_ALIGNMENT};
use crate::problem::{Element, Layout, Operand, Role};

use super::parameters::{Reduced, reduce, within_iterations};
use super::visits::pieces;
use super::{Last, Pass};

/// Sizes of dbias `[B|1, Hq|1, Nq|1, Nk]`: 1 on each axis that the bias is broadcast over.
#[derive(Clone, Copy)]
struct Sizes {
    batches: u32,
    heads: u32,
    rows: u32,
}

impl Sizes {
    /// Its rows for these queries.
    fn rows(&self, q: Range<u32>) -> Rows {
        Rows {
            rows: q,
            ..Rows::all([self.batches, self.heads, 0])
        }
    }
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
        target: View,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        if slice.q.is_empty() || slice.k.is_empty() {
            return Ok(());
        }
        let view = self.pair_bias_target(builder, sizes, target)?;
        let mut chosen = self.choose(
            builder,
            TileRequest::grad_q(
                shape,
                self.context.pairs().saturating_mul(self.recompute_flops()),
            ),
        )?;
        // A tile is one step of keys.
        chosen.tiling.tile = chosen.tiling.keys;
        let shares = [shape.batch / sizes.batches, shape.q_heads / sizes.heads];
        // Those that share a number are summed at once.
        let units = Lengths {
            batches: shares[0],
            heads: shares[1],
            q: 1,
            k: chosen.tiling.tile,
        };
        let mut parts = self.parts(builder, units)?;
        parts.fit(Role::DBias.name(), &view, RowsOf::Pairs)?;
        parts.settle(builder)?;
        for (batches, heads) in parts.heads() {
            for q in parts.queries() {
                for k in parts.keys() {
                    let part = Part {
                        batches: batches.clone(),
                        heads: heads.clone(),
                        q: q.clone(),
                        k,
                    };
                    self.pair_bias_steps(builder, &chosen, (&parts, part), (sizes, &view))?;
                }
            }
        }
        // A workgroup has one tile of keys; it loads its rows anew for each that shares the bias.
        let of_tile = tiles::iterations(&chosen, self.problem(), builder.caps)?
            + tiles::row_loads(&chosen, shape)
            + tiles::searches(self.problem())
            + 2;
        let shares = product(shares.map(u64::from));
        within_iterations(builder, shares.saturating_mul(of_tile))?;
        if builder.options.shared_outputs {
            let (params, rows) = (self.params(), sizes.rows(slice.q));
            last.push(Box::new(move |builder| {
                pack(builder, (&params, &rows), &view, &target, Element::F32)
            }));
        }
        Ok(())
    }

    fn pair_bias_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        (sizes, view): (Sizes, &View),
    ) -> Result<()> {
        let (shape, tiling) = (&self.problem().shape, chosen.tiling);
        let (q, k) = (&part.q, &part.k);
        let tiles = k.end.div_ceil(tiling.tile) - k.start / tiling.tile;
        let to = parts.bind(view, RowsOf::Pairs, &part);
        let mut params = self.params().with(|p| {
            p.d_bias = to.rows;
            p.sizes.batch = sizes.batches;
            p.work.heads = sizes.heads;
            p.work.splits = tiles;
            p.work.tiles = q.end.div_ceil(tiling.tile_rows()) - q.start / tiling.tile_rows();
            p.sharing.batches = shape.batch / sizes.batches;
            p.sharing.heads = shape.q_heads / sizes.heads;
        });
        let outputs = vec![("d_bias", to.binding)];
        let bindings = self.bind(builder, (parts, &part), &mut params, outputs);
        let shares = product([params.sharing.batches, params.sharing.heads].map(u64::from));
        let visited = product([shares, tiles.into()]);
        let pairs = product([visited, tiling.tile.into(), tiling.tile_rows().into()]);
        let cost = Cost {
            visited,
            of: visited,
            flops: pairs.saturating_mul(self.recompute_flops()),
            read_bytes: pairs.saturating_mul(4),
            written_bytes: u64::from(tiling.tile_rows()) * k.len() as u64 * 4,
        };
        let shared = |x: &Range<u32>, by: u32| x.start / by..x.end / by;
        let of = (
            shared(&part.batches, params.sharing.batches),
            shared(&part.heads, params.sharing.heads),
        );
        let key = GradBias(self.key(builder, chosen));
        let counts = TileCounts::Same(params.work.tiles);
        tile_steps(
            builder,
            key,
            &bindings,
            &params,
            (&of, &counts),
            |_, _, _| cost,
        )
    }

    /// The caller's tensor, or scratch where that may be an operand's buffer.
    fn pair_bias_target(
        &self,
        builder: &mut PlanBuilder<'_>,
        sizes: Sizes,
        target: View,
    ) -> Result<View> {
        let (kv_len, slice) = (self.problem().shape.kv_len, self.problem().slice());
        if !builder.options.shared_outputs {
            return Ok(target);
        }
        if slice.k != (0..kv_len) {
            return Err(Error::Strategy {
                strategy: "dbias by a slice of the keys",
                reason: "it shares its buffer with another operand; give it one of its own".into(),
            });
        }
        let rows = sizes.rows(slice.q);
        Ok(builder.scratch_rows("scratch for dbias", 4, &rows, kv_len))
    }

    /// Queries share it: sums by tiles of keys, a number per query head and key, and of these the sums over the batches
    /// and heads that share it.
    fn grad_key_bias<'p>(
        &'p self,
        builder: &mut PlanBuilder<'_>,
        sizes: Sizes,
        target: View,
        last: &mut Vec<Last<'p>>,
    ) -> Result<()> {
        let (shape, slice) = (&self.problem().shape, self.problem().slice());
        if slice.k.is_empty() {
            return Ok(());
        }
        if slice.q.is_empty() {
            let view = self.key_bias_scratch(builder, &slice.k, 0);
            last.push(self.reduce_keys(sizes, target, (slice.k, view), 0));
            return Ok(());
        }
        let flops = self.context.pairs().saturating_mul(self.recompute_flops());
        let chosen = self.choose(builder, TileRequest::grad_key_bias(shape, flops))?;
        let units = Lengths {
            q: chosen.tiling.tile,
            ..Lengths::ONE
        };
        let mut parts = self.parts(builder, units)?;
        let heads = u64::from(shape.batch) * u64::from(shape.q_heads);
        let bytes = |n: &Lengths| product([heads, n.k.into(), 4]);
        let all = bytes(&parts.lengths());
        parts.fit_by("scratch for the sums of dbias", (all, bytes), &[Axis::Keys])?;
        parts.settle(builder)?;
        let most = bytes(&parts.lengths()).next_multiple_of(OFFSET_ALIGNMENT);
        for (n, k) in (0..).zip(parts.keys()) {
            let view = self.key_bias_scratch(builder, &k, n * most);
            for (batches, heads) in parts.heads() {
                let part = Part {
                    batches,
                    heads,
                    q: slice.q.clone(),
                    k: k.clone(),
                };
                self.sums_of_keys(builder, &chosen, (&parts, part), &view)?;
            }
            last.push(self.reduce_keys(sizes, target, (k, view), 1));
        }
        Ok(())
    }

    /// Room for a number per query head and key, from byte `at` on.
    fn key_bias_scratch(&self, builder: &mut PlanBuilder<'_>, k: &Range<u32>, at: u64) -> View {
        let shape = &self.problem().shape;
        let rows = Rows::all([shape.batch, shape.q_heads, 1]);
        let name = "scratch for the sums of dbias";
        builder.scratch_rows_at(name, 4, at, &rows, k.len() as u32)
    }

    /// Sums of some keys' numbers, of so many partial sums each, over the batches and heads that share one.
    fn reduce_keys<'p>(
        &'p self,
        sizes: Sizes,
        target: View,
        (k, partials): (Range<u32>, View),
        tiles: u32,
    ) -> Last<'p> {
        let shape = &self.problem().shape;
        let params = self.params().with(|p| {
            p.partials.begin = k.start;
            p.partials.count = k.len() as u32;
            p.partials.stride = k.len() as u32;
            p.sharing.batches = shape.batch / sizes.batches;
            p.sharing.heads = shape.q_heads / sizes.heads;
        });
        let target = target.whole();
        let sums = Reduced {
            binding: target.binding,
            rows: Strides {
                row: 1,
                ..target.rows
            },
        };
        // It may lie where an operand lay that other kernels still read.
        let counts = TileCounts::Same(tiles);
        Box::new(move |builder| reduce(builder, params, &counts, partials.whole().binding, sums))
    }

    fn sums_of_keys(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        partials: &View,
    ) -> Result<()> {
        let tiling = chosen.tiling;
        let tile_flops = product([
            tiling.tile.into(),
            tiling.tile_rows().into(),
            self.recompute_flops(),
        ]);
        let runs = parts.queries();
        let longest = runs.iter().map(|q| q.len() as u32).max().unwrap_or(0);
        let queries = self.part(builder, chosen, longest, 1, tile_flops)?;
        let q = runs
            .into_iter()
            .flat_map(|q| pieces(q, queries, tiling.tile));
        for (n, q) in q.enumerate() {
            let part = Part { q, ..part.clone() };
            self.key_bias_steps(builder, chosen, (parts, part), (n > 0, partials))?;
        }
        Ok(())
    }

    fn key_bias_steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &TileChoice,
        (parts, part): (&Parts, Part),
        (adds, partials): (bool, &View),
    ) -> Result<()> {
        let (q, k, rows) = (&part.q, &part.k, chosen.tiling.tile_rows());
        let mut params = self.by_keys(builder)?.with(|p| {
            p.partials.stride = k.len() as u32;
            p.work.tiles = k.end.div_ceil(rows) - k.start / rows;
            p.part.accumulate = u32::from(adds);
        });
        let outputs = vec![("partials", partials.whole().binding)];
        let bindings = self.bind(builder, (parts, &part), &mut params, outputs);
        let problem = self.context.part_of(q.clone(), k.clone());
        let schedule = Schedule::new(&problem).transposed();
        let of = u64::from(q.end.div_ceil(chosen.tiling.tile) - q.start / chosen.tiling.tile);
        let counts = TileCounts::Same(params.work.tiles);
        let mut costs = PerHead::new(&counts, schedule.heads(), |b, h, tile| {
            let start = (k.start / rows + tile) * rows;
            let (j0, j1) = (start.max(k.start), (start + rows).min(k.end) - 1);
            let visited = schedule.tiles_visible_to(b, h, j0, j1, chosen.tiling.tile);
            Cost {
                visited,
                of,
                flops: product([
                    schedule.pairs_visible_to(b, h, j0, j1),
                    self.recompute_flops(),
                ]),
                read_bytes: self.read_bytes(chosen, visited),
                written_bytes: u64::from(j1 - j0 + 1) * 4,
            }
        });
        let key = GradKeyBias(Gradient {
            score: self.context.score.key,
            ..self.key(builder, chosen)
        });
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
}

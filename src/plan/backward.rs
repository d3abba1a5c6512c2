//! The backward pass: delta, then dK and dV by tiles of keys, then dQ by tiles of queries. P is recomputed from lse.

use std::ops::Range;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::problem::position::Side;
use crate::problem::{Element, Layout, Operand, Problem};

use super::blocks::{push_mask, push_transposed};
use super::draft::{Bound, Draft};
use super::inputs::{Source, bind_inputs, rotate_inputs};
use super::merge::pack;
use super::params::{Params, Rows};
use super::positions::spelled_out;
use super::rotate::{self, BackPass};
use super::schedule::Schedule;
use super::score::{self, ScorePlan};
use super::steps::{cut, tile_steps};
use super::tiles::{self, Chosen, Demand};
use super::variant::{Delta, Gradient, Input, MaskKey, Variant};
use super::{Binding, Choice, Cost, Plan, Role, Task};

/// The gradients of a loss by q, k and v, given its gradient dO by o (and by lse), and what the forward call kept:
/// o and lse, those of the whole problem. Nothing of size Nq × Nk is stored (FlashAttention, 2205.14135).
///
/// Of a slice, what its pairs contribute: the gradients of a cut add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Backward {
    pub problem: Problem,
    /// dO, `[B, Hq, Nq, Dv]`
    pub d_o: Operand,
    /// A gradient by lse, f32 `[B, Hq, Nq]`, joins.
    pub dlse: bool,
    /// `[B, Hq, Nq, D]`
    pub dq: Operand,
    /// `[B, Hkv, Nk, D]`
    pub dk: Operand,
    /// `[B, Hkv, Nk, Dv]`
    pub dv: Operand,
    /// Also the gradient of the dense bias, f32, contiguous, of the sizes that the bias is not broadcast over.
    pub dbias: bool,
    /// Also that of ALiBi's slopes, f32 `[Hq]`.
    pub dslopes: bool,
    /// Also that of the learned sinks, f32 `[Hq]`. It takes rows, not pairs: ask for it in one call of a cut over keys.
    pub dsinks: bool,
    /// Also that of T5's table, f32 `[buckets, Hq]`.
    pub dt5: bool,
}

impl Backward {
    /// dO like o, contiguous gradients of one element type.
    pub fn new(problem: Problem, element: Element) -> Self {
        let shape = &problem.shape;
        let like = |heads, len, dim| Operand::new(element, Layout::heads_first(heads, len, dim));
        Self {
            d_o: problem.o,
            dlse: false,
            dq: like(shape.q_heads, shape.q_len, shape.head_dim),
            dk: like(shape.kv_heads, shape.kv_len, shape.head_dim),
            dv: like(shape.kv_heads, shape.kv_len, shape.value_dim),
            dbias: false,
            dslopes: false,
            dsinks: false,
            dt5: false,
            problem,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.problem.validate()?;
        let text = self.problem.mods.as_ref().map(|mods| &mods.text);
        if text.is_some_and(|text| text.has_score() && !text.has_score_grad()) {
            return Err(Error::NoScoreGradient);
        }
        let s = &self.problem.shape;
        let (q, kv) = (
            [s.batch, s.q_heads, s.q_len],
            [s.batch, s.kv_heads, s.kv_len],
        );
        self.d_o.validate("do", q, s.value_dim)?;
        for (what, operand, sizes, dim) in [
            ("dq", &self.dq, q, s.head_dim),
            ("dk", &self.dk, kv, s.head_dim),
            ("dv", &self.dv, kv, s.value_dim),
        ] {
            operand.validate(what, sizes, dim)?;
            operand.validate_output(what, sizes, dim)?;
        }
        let score = &self.problem.score;
        for (what, asked, parameter, there) in [
            ("dbias", self.dbias, "bias", score.bias.is_some()),
            ("dslopes", self.dslopes, "slopes", score.slopes.is_some()),
            ("dsinks", self.dsinks, "sinks", score.sinks.is_some()),
            ("dt5", self.dt5, "t5", score.t5.is_some()),
        ] {
            if asked && !there {
                return Err(Error::NoParameter { what, parameter });
            }
        }
        Ok(())
    }
}

pub(super) fn plan(stated: &Backward, caps: &Caps, choice: &Choice) -> Result<Plan> {
    let problem = &*spelled_out(&stated.problem);
    let mut draft = Draft::of(problem, caps, choice);
    if problem.shape.batch > 0 {
        Pass::new(&mut draft, stated, problem)?.steps(&mut draft)?;
    }
    Ok(draft.finish(Task::Backward(Box::new(stated.clone()))))
}

/// What all steps of a backward pass share.
pub(super) struct Pass<'a> {
    pub(super) stated: &'a Backward,
    pub(super) problem: &'a Problem,
    pub(super) schedule: Schedule<'a>,
    pub(super) params: Params,
    inputs: [Source; 3],
    d_o: Bound,
    /// (lse, Δ)
    pub(super) stats: Binding,
    score: ScorePlan,
    mask: MaskKey,
    table: Option<Binding>,
}

impl<'a> Pass<'a> {
    fn new(draft: &mut Draft<'_>, stated: &'a Backward, problem: &'a Problem) -> Result<Self> {
        let (shape, slice) = (&problem.shape, problem.slice());
        let mut params = Params::of(problem);
        params.group_end = shape.group();
        draft.push_lengths(problem, &mut params);
        let mask = push_mask(draft, problem, &mut params)?;
        let score = score::plan(draft, problem, &mut params, false)?;
        let [mut q, mut k, v] = bind_inputs(draft, problem)?;
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        let d_o = draft.input(Role::DO, &stated.d_o, sizes, shape.value_dim)?;
        params.d_o = d_o.rows;
        let stats = delta(draft, stated, problem, &mut params, &d_o)?;
        params.q = q.bound.rows;
        let mut table = None;
        if let Some(rotary) = &problem.position.rotary {
            let binding = rotate::plan_table(draft, problem, rotary, &mut params)?;
            if !slice.q.is_empty() && !slice.k.is_empty() {
                rotate_inputs(draft, problem, &params, binding, &mut q, &mut k)?;
            }
            table = Some(binding);
        }
        (params.q, params.k, params.v) = (q.bound.rows, k.bound.rows, v.bound.rows);
        Ok(Self {
            stated,
            problem,
            schedule: Schedule::new(problem),
            params,
            inputs: [q, k, v],
            d_o,
            stats,
            score,
            mask,
            table,
        })
    }

    fn steps(&self, draft: &mut Draft<'_>) -> Result<()> {
        let slice = self.problem.slice();
        if !slice.k.is_empty() {
            self.grad_kv(draft)?;
        }
        if !slice.q.is_empty() {
            self.grad_q(draft)?;
        }
        self.score_gradients(draft)
    }

    pub(super) fn pairs(&self) -> u64 {
        let (shape, slice) = (&self.problem.shape, self.problem.slice());
        if slice.q.is_empty() {
            return 0;
        }
        let heads = self.schedule.heads();
        let of = |(b, h)| self.schedule.pairs(b, h, slice.q.start, slice.q.end - 1);
        let each = (0..shape.batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
        u64::from(shape.q_heads / heads) * each.map(of).sum::<u64>()
    }

    fn grad_q(&self, draft: &mut Draft<'_>) -> Result<()> {
        let (shape, slice) = (&self.problem.shape, self.problem.slice());
        // S, dP and dQ
        let pair_flops = 2 * u64::from(2 * shape.head_dim + shape.value_dim);
        let demand = Demand::grad_q(shape, self.pairs() * pair_flops);
        let chosen = self.choose(draft, demand)?;
        let place = Tensor {
            role: Role::DQ,
            side: Some(Side::Query),
            heads: shape.q_heads,
            rows: slice.q.clone(),
            len: shape.q_len,
            dim: shape.head_dim,
        };
        let target = Target::of(draft, self, &place, &self.stated.dq)?;
        let mut params = self.params;
        params.o = target.rows;
        let variant = Variant::GradQ(self.key(draft, &chosen));
        let bindings = self.bindings(draft, &[target.binding]);
        let tiling = chosen.tiling;
        let tile_flops = u64::from(tiling.tile * tiling.tile_rows()) * pair_flops;
        let keys = self.part(draft, &chosen, slice.k.len() as u32, 1, tile_flops)?;
        for q in cut(
            slice.q.clone(),
            draft.choice.slice_rows.unwrap_or(u32::MAX).max(1),
        ) {
            for (n, k) in parts(slice.k.clone(), keys, tiling.tile).enumerate() {
                params.accumulate = u32::from(n > 0);
                (params.q_begin, params.q_end) = (q.start, q.end);
                (params.k_begin, params.k_end) = (k.start, k.end);
                let part = self.part_of(q.clone(), k.clone());
                let schedule = Schedule::new(&part);
                let first = q.start / tiling.tile_rows();
                params.q_tiles = q.end.div_ceil(tiling.tile_rows()) - first;
                let of = (k.end.div_ceil(tiling.tile) - k.start / tiling.tile).into();
                let rows = |tile: u32| {
                    let start = (first + tile) * tiling.tile_rows();
                    (
                        start.max(q.start),
                        (start + tiling.tile_rows()).min(q.end) - 1,
                    )
                };
                let mut costs = PerHead::new(params.q_tiles, schedule.heads(), |b, h, tile| {
                    let (i0, i1) = rows(tile);
                    let visited = schedule.visited(b, h, i0, i1, tiling.tile);
                    Cost {
                        visited,
                        of,
                        flops: schedule.pairs(b, h, i0, i1) * pair_flops,
                        read_bytes: self.read_bytes(&chosen, visited),
                        written_bytes: u64::from(i1 - i0 + 1) * u64::from(shape.head_dim) * 4,
                    }
                });
                tile_steps(draft, variant, &bindings, &params, |b, h, tile| {
                    costs.of(b, h, tile)
                })?;
            }
        }
        target.finish(draft, self, &place, &self.stated.dq)
    }

    fn grad_kv(&self, draft: &mut Draft<'_>) -> Result<()> {
        let (shape, slice) = (&self.problem.shape, self.problem.slice());
        // S, dP, dK and dV
        let pair_flops = 4 * u64::from(shape.head_dim + shape.value_dim);
        let demand = Demand::grad_kv(shape, self.pairs() * pair_flops);
        let chosen = self.choose(draft, demand)?;
        let dk = Tensor {
            role: Role::DK,
            side: Some(Side::Key),
            heads: shape.kv_heads,
            rows: slice.k.clone(),
            len: shape.kv_len,
            dim: shape.head_dim,
        };
        let dv = Tensor {
            role: Role::DV,
            side: None,
            dim: shape.value_dim,
            ..dk.clone()
        };
        let (dk_target, dv_target) = if self.score.bias.is_some() {
            Target::joined(draft, self, (&dk, &self.stated.dk), (&dv, &self.stated.dv))?
        } else {
            (
                Target::of(draft, self, &dk, &self.stated.dk)?,
                Target::of(draft, self, &dv, &self.stated.dv)?,
            )
        };
        let mut params = self.params;
        (params.o, params.dv, params.work_heads) = (dk_target.rows, dv_target.rows, shape.kv_heads);
        push_transposed(draft, self.problem, &mut params)?;
        let variant = Variant::GradKv(self.key(draft, &chosen));
        let bindings = match self.score.bias {
            Some(_) => self.bindings(draft, &[dk_target.whole]),
            None => self.bindings(draft, &[dk_target.binding, dv_target.binding]),
        };
        let tiling = chosen.tiling;
        let group = shape.group();
        let tile_flops = u64::from(tiling.tile * tiling.tile_rows()) * pair_flops;
        let mut queries = self.part(draft, &chosen, slice.q.len() as u32, group, tile_flops)?;
        // Heads one by one before queries are cut.
        let heads = if queries < slice.q.len() as u32 {
            1
        } else {
            group
        };
        if heads < group {
            queries = self.part(draft, &chosen, slice.q.len() as u32, 1, tile_flops)?;
        }
        queries = queries.min(draft.choice.slice_rows.unwrap_or(u32::MAX).max(1));
        let k = slice.k.clone();
        let first = k.start / tiling.tile_rows();
        params.q_tiles = k.end.div_ceil(tiling.tile_rows()) - first;
        let whole_heads = cut(0..group, heads);
        for (step, (h, q)) in whole_heads
            .flat_map(|h| parts(slice.q.clone(), queries, tiling.tile).map(move |q| (h.clone(), q)))
            .enumerate()
        {
            params.accumulate = u32::from(step > 0);
            (params.group_begin, params.group_end) = (h.start, h.end);
            (params.q_begin, params.q_end) = (q.start, q.end);
            let part = self.part_of(q.clone(), k.clone());
            let schedule = Schedule::new(&part).transposed();
            let heads = u64::from(h.end - h.start);
            let of = u64::from(q.end.div_ceil(tiling.tile) - q.start / tiling.tile);
            let alike = schedule.heads() == 1;
            let kv_heads = if alike { 1 } else { shape.kv_heads };
            let mut costs = PerHead::new(params.q_tiles, kv_heads, |b, kv_head, tile| {
                let start = (first + tile) * tiling.tile_rows();
                let (j0, j1) = (
                    start.max(k.start),
                    (start + tiling.tile_rows()).min(k.end) - 1,
                );
                // Query heads that walk the same are counted once and multiplied.
                let (walks, times) = match alike {
                    true => (0..1, heads),
                    false => (kv_head * group + h.start..kv_head * group + h.end, 1),
                };
                let of_head = |h| {
                    (
                        schedule.seen_by_tiles(b, h, j0, j1, tiling.tile),
                        schedule.seen_by_pairs(b, h, j0, j1),
                    )
                };
                let (visited, pairs) = walks
                    .map(of_head)
                    .fold((0, 0), |sum, x| (sum.0 + times * x.0, sum.1 + times * x.1));
                Cost {
                    visited,
                    of: heads * of,
                    flops: pairs * pair_flops,
                    read_bytes: self.read_bytes(&chosen, visited),
                    written_bytes: u64::from(j1 - j0 + 1)
                        * u64::from(shape.head_dim + shape.value_dim)
                        * 4,
                }
            });
            tile_steps(draft, variant, &bindings, &params, |b, h, tile| {
                costs.of(b, h, tile)
            })?;
        }
        dk_target.finish(draft, self, &dk, &self.stated.dk)?;
        dv_target.finish(draft, self, &dv, &self.stated.dv)
    }

    /// The tiles of a gradient kernel; reasons are told once.
    pub(super) fn choose(&self, draft: &mut Draft<'_>, demand: Demand) -> Result<Chosen> {
        let mut chosen = tiles::choose(demand, draft.caps, draft.choice)?;
        if let Some(mask) = self.problem.mask.host_blocks() {
            tiles::fit_block(&mut chosen, mask.grid().side, draft)?;
        }
        for declined in chosen.declined.drain(..) {
            if !draft.declined.contains(&declined) {
                draft.declined.push(declined);
            }
        }
        Ok(chosen)
    }

    pub(super) fn key(&self, draft: &Draft<'_>, chosen: &Chosen) -> Gradient {
        let shape = &self.problem.shape;
        let [q, k, v] = &self.inputs;
        Gradient {
            strategy: chosen.strategy,
            tiling: chosen.tiling,
            input: Input::of(&[&q.operand, &k.operand], &[shape.head_dim]),
            value: Input::of(&[&v.operand], &[shape.value_dim]),
            d_o: Input::of(&[&self.stated.d_o], &[shape.value_dim]),
            chunks: shape.head_dim.div_ceil(4),
            value_chunks: shape.value_dim.div_ceil(4),
            score: self.score.key,
            mask: self.mask,
            wide: chosen.wide,
            count_tiles: draft.choice.count_tiles,
        }
    }

    pub(super) fn bindings(&self, draft: &Draft<'_>, outputs: &[Binding]) -> Vec<Binding> {
        let mut bindings: Vec<_> = self.inputs.iter().map(|x| x.bound.binding).collect();
        bindings.extend([self.d_o.binding, read_only(self.stats)]);
        // Nobody walks an empty operand, but something must be bound.
        for binding in bindings.iter_mut().filter(|x| x.size == 0) {
            *binding = draft.aux_binding();
        }
        bindings.extend(outputs);
        bindings.push(draft.aux_binding());
        bindings.extend(self.score.bias);
        bindings
    }

    /// Rows of the walked axis that a dispatch may take, so that a workgroup's work and its loop iterations are bounded.
    fn part(
        &self,
        draft: &Draft<'_>,
        chosen: &Chosen,
        rows: u32,
        heads: u32,
        tile_flops: u64,
    ) -> Result<u32> {
        let tiling = &chosen.tiling;
        if let Some(splits) = draft.choice.splits {
            return Ok(rows.div_ceil(splits.max(1)).max(1));
        }
        let by_flops = draft.step_flops() / tile_flops.max(1);
        let iterations = tiles::iterations(chosen, self.problem, draft.caps)?;
        let by_iterations = draft.caps.iterations.map_or(u64::MAX, |cap| {
            (cap - super::prefill::ITERATION_MARGIN) / iterations
        });
        let tiles = by_flops.min(by_iterations) / u64::from(heads);
        let most = tiles.saturating_sub(1).max(1) * u64::from(tiling.tile);
        Ok(most.min(u64::from(rows.max(1))) as u32)
    }

    fn part_of(&self, q: Range<u32>, k: Range<u32>) -> Problem {
        Problem {
            slice: Some(crate::problem::Slice { q, k }),
            ..self.problem.clone()
        }
    }

    /// A streamed tile's bytes, as often as clusters load them.
    fn read_bytes(&self, chosen: &Chosen, visited: u64) -> u64 {
        let shape = &self.problem.shape;
        let dims = u64::from(shape.head_dim + shape.value_dim);
        let element = self.inputs[0].operand.element.size();
        visited * u64::from(chosen.tiling.tile) * dims * element * tiles::loads(chosen)
    }
}

/// Writes (lse, Δ) of the slice's rows to scratch.
fn delta(
    draft: &mut Draft<'_>,
    stated: &Backward,
    problem: &Problem,
    params: &mut Params,
    d_o: &Bound,
) -> Result<Binding> {
    let (shape, slice) = (&problem.shape, problem.slice());
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let contiguous = Operand::new(
        Element::F32,
        Layout::heads_first(shape.q_heads, shape.q_len, 1),
    );
    let o = draft.input(Role::O, &problem.o, sizes, shape.value_dim)?;
    let lse = draft.input(Role::Lse, &contiguous, sizes, 1)?;
    let count = slice.q.end - slice.q.start;
    let rows = u64::from(shape.batch) * u64::from(shape.q_heads) * u64::from(count);
    let stats = draft.scratch("scratch for lse and delta", rows * 8)?;
    params.stats = Rows::contiguous(shape.q_heads, count, 1, slice.q.start);
    let mut bindings = vec![
        o.binding,
        d_o.binding,
        lse.binding,
        stats,
        draft.aux_binding(),
    ];
    if stated.dlse {
        bindings.push(draft.input(Role::DLse, &contiguous, sizes, 1)?.binding);
    }
    let chunks = shape.value_dim.div_ceil(4);
    let params = Params {
        o: o.rows,
        lse: lse.rows,
        partials_at: draft.push_aux(std::iter::repeat_n(chunks, shape.batch as usize)),
        ..*params
    };
    let dim = u64::from(shape.value_dim);
    let cost = Cost {
        flops: rows * dim * 2,
        read_bytes: rows * dim * (problem.o.element.size() + stated.d_o.element.size()) + rows * 4,
        written_bytes: rows * 8,
        ..Cost::default()
    };
    let variant = Variant::Delta(Delta {
        o: Input::of(&[&problem.o], &[shape.value_dim]),
        d_o: Input::of(&[&stated.d_o], &[shape.value_dim]),
        dlse: stated.dlse,
    });
    if rows > 0 {
        draft.item_steps(variant, params, bindings, rows, cost)?;
    }
    Ok(stats)
}

/// A gradient: which tensor, and the rows of it that the pass makes.
#[derive(Clone)]
struct Tensor {
    role: Role,
    /// `None` for what never turns.
    side: Option<Side>,
    heads: u32,
    rows: Range<u32>,
    len: u32,
    dim: u32,
}

impl Tensor {
    fn bytes(&self, batch: u32) -> u64 {
        u64::from(batch)
            * u64::from(self.heads)
            * u64::from(self.rows.end - self.rows.start)
            * u64::from(self.dim)
            * 4
    }
}

/// Where a kernel writes a gradient: in place, or f32 scratch that is then turned back or packed.
struct Target {
    /// The caller's tensor.
    bound: Bound,
    in_place: bool,
    binding: Binding,
    rows: Rows,
    /// The buffer that `binding` is a part of.
    whole: Binding,
}

impl Target {
    fn of(
        draft: &mut Draft<'_>,
        pass: &Pass<'_>,
        tensor: &Tensor,
        operand: &Operand,
    ) -> Result<Self> {
        let batch = pass.problem.shape.batch;
        let bound = draft.output(
            tensor.role,
            operand,
            [batch, tensor.heads, tensor.len],
            tensor.dim,
        )?;
        let turns = tensor.side.is_some() && pass.table.is_some();
        if operand.element == Element::F32 && !draft.choice.shared_outputs && !turns {
            return Ok(Self {
                bound,
                in_place: true,
                binding: bound.binding,
                rows: bound.rows,
                whole: bound.binding,
            });
        }
        let name = match tensor.role {
            Role::DQ => "scratch for dq",
            Role::DK => "scratch for dk",
            _ => "scratch for dv",
        };
        let binding = draft.scratch(name, tensor.bytes(batch))?;
        let count = tensor.rows.end - tensor.rows.start;
        Ok(Self {
            bound,
            in_place: false,
            binding,
            rows: Rows::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start),
            whole: binding,
        })
    }

    /// dk and dv in one buffer, for the kernel has no binding left for the second.
    fn joined(
        draft: &mut Draft<'_>,
        pass: &Pass<'_>,
        (dk, dk_operand): (&Tensor, &Operand),
        (dv, dv_operand): (&Tensor, &Operand),
    ) -> Result<(Self, Self)> {
        let batch = pass.problem.shape.batch;
        let behind = dk.bytes(batch).next_multiple_of(super::OFFSET_ALIGNMENT);
        let whole = draft.scratch("scratch for dk and dv", behind + dv.bytes(batch))?;
        let mut place = |tensor: &Tensor, operand: &Operand, offset: u64| -> Result<Self> {
            let sizes = [batch, tensor.heads, tensor.len];
            let bound = draft.output(tensor.role, operand, sizes, tensor.dim)?;
            let count = tensor.rows.end - tensor.rows.start;
            let mut rows = Rows::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start);
            rows.start = rows.start.wrapping_add((offset / 4) as u32);
            Ok(Self {
                bound,
                in_place: false,
                binding: Binding {
                    offset,
                    size: tensor.bytes(batch).max(4),
                    ..whole
                },
                rows,
                whole,
            })
        };
        Ok((place(dk, dk_operand, 0)?, place(dv, dv_operand, behind)?))
    }

    /// Brings the gradient to where it is to be stored.
    fn finish(
        self,
        draft: &mut Draft<'_>,
        pass: &Pass<'_>,
        tensor: &Tensor,
        operand: &Operand,
    ) -> Result<()> {
        if self.in_place {
            return Ok(());
        }
        let count = tensor.rows.end - tensor.rows.start;
        // Seen from its own binding.
        let rows = Rows::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start);
        let position = &pass.problem.position;
        if let (Some(side), Some(rotary), Some(table)) = (tensor.side, &position.rotary, pass.table)
        {
            let back = BackPass {
                rotary,
                side,
                from: Bound {
                    binding: self.binding,
                    rows,
                },
                heads: tensor.heads,
                rows: tensor.rows.clone(),
                positions: match side {
                    Side::Query => &position.q_positions,
                    Side::Key => &position.k_positions,
                },
                table,
            };
            return back.plan(
                draft,
                &pass.params,
                operand,
                &self.bound,
                tensor.role.name(),
            );
        }
        draft.note(format!(
            "{} is written to scratch, then packed",
            tensor.role
        ));
        let params = Params {
            o: rows,
            q_heads: tensor.heads,
            q_begin: tensor.rows.start,
            q_end: tensor.rows.end,
            value_dim: tensor.dim,
            ..pass.params
        };
        pack(draft, &params, self.binding, &self.bound, operand.element)
    }
}

/// `range` in pieces of about `n`, cut at multiples of `tile`.
fn parts(range: Range<u32>, n: u32, tile: u32) -> impl Iterator<Item = Range<u32>> {
    let begin = range.start / tile * tile;
    // What fits in one piece stays whole, wherever its tiles begin.
    let n = if n >= range.end.saturating_sub(range.start) {
        (range.end - begin).max(1)
    } else {
        n.next_multiple_of(tile)
    };
    let whole = range.clone();
    cut(begin..range.end.max(begin), n)
        .map(move |part| part.start.max(whole.start)..part.end)
        .chain(range.is_empty().then_some(range))
}

fn read_only(binding: Binding) -> Binding {
    Binding {
        writable: false,
        ..binding
    }
}

/// The cost of a tile, the same for every head unless these have lists of their own: computed once a batch, differing
/// head and tile.
struct PerHead<F> {
    tiles: u32,
    heads: u32,
    compute: F,
    known: Option<(u32, u32)>,
    costs: Vec<Cost>,
}

impl<F: Fn(u32, u32, u32) -> Cost> PerHead<F> {
    fn new(tiles: u32, heads: u32, compute: F) -> Self {
        Self {
            tiles,
            heads,
            compute,
            known: None,
            costs: Vec::new(),
        }
    }

    fn of(&mut self, b: u32, h: u32, tile: u32) -> Cost {
        let h = if self.heads == 1 { 0 } else { h };
        if self.known != Some((b, h)) {
            self.known = Some((b, h));
            let tiles = 0..self.tiles;
            self.costs = tiles.map(|tile| (self.compute)(b, h, tile)).collect();
        }
        self.costs[tile as usize]
    }
}

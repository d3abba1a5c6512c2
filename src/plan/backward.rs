//! The backward pass: delta, then dK and dV by tiles of keys, then dQ by tiles of queries. P is recomputed from lse.

mod delta;
mod grad_kv;
mod grad_q;
mod parameters;
mod target;
mod walk;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::problem::{Element, Layout, Operand, Problem};

use self::delta::delta;
use super::blocks::push_mask;
use super::draft::{Bound, Draft};
use super::inputs::{Source, bind_inputs, rotate_inputs};
use super::params::Params;
use super::positions::spelled_out;
use super::rotate;
use super::schedule::Schedule;
use super::score::{self, ScorePlan};
use super::select;
use super::tiles::{self, Chosen, Demand};
use super::variant::{Gradient, Input, MaskKey, whole_eights};
use super::{Binding, Choice, Plan, Role, Task};

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
struct Pass<'a> {
    stated: &'a Backward,
    problem: &'a Problem,
    schedule: Schedule<'a>,
    params: Params,
    inputs: [Source; 3],
    d_o: Bound,
    /// (lse, Δ)
    stats: Binding,
    score: ScorePlan,
    mask: MaskKey,
    table: Option<Binding>,
}

/// What brings a gradient from scratch to the caller's buffer. It comes after every kernel that reads an operand, for the
/// buffer may be an operand's.
type Last<'p> = Box<dyn FnOnce(&mut Draft<'_>) -> Result<()> + 'p>;

impl<'a> Pass<'a> {
    fn new(draft: &mut Draft<'_>, stated: &'a Backward, problem: &'a Problem) -> Result<Self> {
        let (shape, slice) = (&problem.shape, problem.slice());
        let mut params = Params::of(problem);
        params.group_end = shape.group();
        draft.push_lengths(problem, &mut params)?;
        let mask = push_mask(draft, problem, &mut params)?;
        let score = score::plan(draft, problem, &mut params, false)?;
        let [mut q, mut k, v] = bind_inputs(draft, problem)?;
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        let d_o = draft.input(Role::DO, &stated.d_o, sizes, shape.value_dim)?;
        params.d_o = d_o.rows;
        let stats = delta(draft, stated, problem, &mut params, &d_o)?;
        params.q = q.bound.rows;
        let mut table = None;
        if let Some(rotary) = problem.position.rotation() {
            let binding = rotate::plan_table(draft, problem, rotary, &mut params)?;
            if !slice.q.is_empty() && !slice.k.is_empty() {
                let rows = rotate::rotated_rows(&problem.position);
                draft.note(format!(
                    "{rows} in a pass before: each gradient reads them anew"
                ));
                rotate_inputs(draft, problem, &params, binding, &mut q, &mut k)?;
            }
            table = Some(binding);
        }
        (params.q, params.k, params.v) = (q.bound.rows, k.bound.rows, v.bound.rows);
        if !slice.q.is_empty() && !slice.k.is_empty() {
            select::steps(draft, problem, &params, mask, &q, &k)?;
        }
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
        let mut last = Vec::new();
        if !slice.k.is_empty() {
            self.grad_kv(draft, &mut last)?;
        }
        if !slice.q.is_empty() {
            self.grad_q(draft, &mut last)?;
        }
        self.score_gradients(draft, &mut last)?;
        last.into_iter().try_for_each(|step| step(draft))
    }

    fn pairs(&self) -> u64 {
        let (shape, slice) = (&self.problem.shape, self.problem.slice());
        if slice.q.is_empty() {
            return 0;
        }
        let heads = self.schedule.heads();
        let of = |(b, h)| self.schedule.pairs(b, h, slice.q.start, slice.q.end - 1);
        let each = (0..shape.batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
        u64::from(shape.q_heads / heads) * each.map(of).sum::<u64>()
    }

    /// The tiles of a gradient kernel; reasons are told once.
    fn choose(&self, draft: &mut Draft<'_>, demand: Demand) -> Result<Chosen> {
        let mut chosen = tiles::choose(demand, draft.caps, draft.choice)?;
        let (d, dv) = (self.problem.shape.head_dim, self.problem.shape.value_dim);
        let [q, k, v] = &self.inputs;
        chosen.load_wide_if(whole_eights(&[
            (&q.operand, d),
            (&k.operand, d),
            (&v.operand, dv),
            (&self.stated.d_o, dv),
        ]));
        if let Some(grid) = self.problem.mask.block_grid(&self.problem.shape) {
            tiles::fit_block(&mut chosen, grid.side, draft)?;
        }
        chosen
            .declined
            .drain(..)
            .for_each(|declined| draft.decline(declined));
        self.score.decline_pairs(&chosen, draft);
        Ok(chosen)
    }

    fn key(&self, draft: &Draft<'_>, chosen: &Chosen) -> Gradient {
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
            score: self.score.key_of_rows(chosen),
            mask: self.mask,
            wide: chosen.wide,
            rolled: chosen.rolled,
            count_tiles: draft.choice.count_tiles,
        }
    }

    fn bindings(&self, draft: &Draft<'_>, outputs: &[Binding]) -> Vec<Binding> {
        let mut bindings: Vec<_> = self.inputs.iter().map(|x| x.bound.binding).collect();
        bindings.extend([self.d_o.binding, self.stats.read_only()]);
        // Nobody walks an empty operand, but something must be bound.
        for binding in bindings.iter_mut().filter(|x| x.size == 0) {
            *binding = draft.aux_binding();
        }
        bindings.extend(outputs);
        bindings.push(draft.aux_binding());
        bindings.extend(self.score.bias);
        bindings
    }
}

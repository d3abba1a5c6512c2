//! What every attention kernel of a call shares, forward and backward: where operands lie, which masks and scores take
//! part, and where q and k are rotated.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{MaskKey, Params, Strides, whole_vec8s};
use crate::plan::Binding;
use crate::plan::builder::PlanBuilder;
use crate::plan::operation::{hadamard, rotary_table, rotate};
use crate::plan::parts::{Part, Parts, RowsOf};
use crate::plan::schedule::Schedule;
use crate::plan::source::Source;
use crate::plan::sparse::select;
use crate::plan::tiles::{self, TileChoice, TileRequest};
use crate::problem::{Operand, Problem, Role, Slice};

use super::inputs::{bind_inputs, rotate_inputs, rows_looked_at, widen_keys};
use super::lookup::push_lookup;
use super::mask::push_mask;
use super::score::{self, ScorePlan};

pub(in crate::plan) struct Context<'a> {
    pub problem: &'a Problem,
    pub schedule: Schedule<'a>,
    pub params: Params,
    pub q: Source,
    pub k: Source,
    pub v: Source,
    pub score: ScorePlan,
    pub mask: MaskKey,
    /// Kernels rotate q and k as they load them; else these are rotated already.
    pub fused: bool,
}

impl<'a> Context<'a> {
    /// Lays out what masks and scores read, and binds q, k and v as the caller has them. `params` know the lengths.
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        problem: &'a Problem,
        mut params: Params,
        fused: bool,
    ) -> Result<Self> {
        push_lookup(builder, problem.kv_address, problem.kept(), &mut params)?;
        let inputs = bind_inputs(builder, problem)?;
        Self::of_inputs(builder, (problem, inputs), params, fused)
    }

    /// The same with q, k and v that are bound already, and `params` that know how their rows are found.
    pub fn of_inputs(
        builder: &mut PlanBuilder<'_>,
        (problem, [q, k, v]): (&'a Problem, [Source; 3]),
        mut params: Params,
        fused: bool,
    ) -> Result<Self> {
        let mask = push_mask(builder, problem, &mut params)?;
        let score = score::plan(builder, problem, &mut params, fused)?;
        let schedule = Schedule::new(problem);
        let mut context = Self {
            problem,
            schedule,
            params,
            q,
            k,
            v,
            score,
            mask,
            fused,
        };
        context.place_inputs();
        Ok(context)
    }

    fn place_inputs(&mut self) {
        let rows = [&self.q, &self.k, &self.v].map(|source| source.view.whole().rows);
        [self.params.q, self.params.k, self.params.v] = rows;
    }

    /// Steps that make what the kernels read: q and k rotated where kernels do not rotate, q as k is by Hadamard, and
    /// chosen blocks.
    pub fn make_inputs(&mut self, builder: &mut PlanBuilder<'_>) -> Result<()> {
        let (problem, slice) = (self.problem, self.problem.slice());
        if let Some(rotary) = problem.position.rotation() {
            rotary_table::plan_table(builder, problem, rotary, &mut self.params)?;
            if !self.fused && slice.has_pairs() {
                rotate_inputs(builder, problem, &self.params, &mut self.q, &mut self.k)?;
                self.place_inputs();
            }
        }
        if !slice.has_pairs() {
            return Ok(());
        }
        if problem.k_hadamard {
            let q = (&mut self.q, rows_looked_at(problem).q);
            hadamard::rotate_queries(builder, problem, &self.params, q)?;
            self.place_inputs();
        }
        select::steps(builder, problem, &self.params, self.mask, &self.q, &self.k)
    }

    /// Lets q and k be of one type, for kernels that read them as such.
    pub fn widen_keys(&mut self, builder: &mut PlanBuilder<'_>) -> Result<()> {
        if self.problem.slice().has_pairs() {
            widen_keys(builder, self.problem, &self.params, &self.q, &mut self.k)?;
            self.place_inputs();
        }
        Ok(())
    }

    /// Strategy and tiles of one kernel, in blocks where there are some.
    pub fn tiles(
        builder: &mut PlanBuilder<'_>,
        problem: &Problem,
        tile_request: TileRequest,
    ) -> Result<TileChoice> {
        tiles::ask(builder, problem, tile_request)
    }

    /// Holds the tiles against what the kernel reads, `more` rows beside q, k and v; tells reasons once.
    pub fn settle(
        &self,
        builder: &mut PlanBuilder<'_>,
        chosen: &mut TileChoice,
        more: &[(&Operand, u32)],
    ) {
        let (d, dv) = (self.problem.shape.head_dim, self.problem.shape.value_dim);
        let mut rows = vec![
            (&self.q.operand, d),
            (&self.k.operand, d),
            (&self.v.operand, dv),
        ];
        rows.extend(more);
        let rotary = self.problem.position.rotation().filter(|_| self.fused);
        let whole = rotary.is_none_or(|rotary| rotate::whole_chunks(rotary, 8));
        chosen.load_vec8_if(whole && whole_vec8s(&rows));
        for declined in chosen.declined.drain(..) {
            builder.decline(declined);
        }
        self.score.decline_pairs(chosen, builder);
    }

    /// Cuts a call until no part has larger windows of the inputs than a binding is.
    pub fn fit(&self, parts: &mut Parts) -> Result<()> {
        let inputs = [
            (Role::Q, &self.q.view, RowsOf::Queries),
            (Role::K, &self.k.view, RowsOf::Keys),
            (Role::V, &self.v.view, RowsOf::Keys),
        ];
        let bias = self.score.bias.as_ref();
        let bias = bias.map(|view| (Role::Bias, view, RowsOf::Pairs));
        inputs
            .into_iter()
            .chain(bias)
            .try_for_each(|(role, view, of)| parts.fit(role.name(), view, of))
    }

    /// What a part binds of q, k and v; the parameters learn where their rows and those of the bias lie.
    pub fn bind(&self, parts: &Parts, part: &Part, params: &mut Params) -> [Binding; 3] {
        if let Some(bias) = &self.score.bias {
            params.bias = parts.bind(bias, RowsOf::Pairs, part).rows;
        }
        let mut bind = |source: &Source, of, strides: fn(&mut Params) -> &mut Strides| {
            let bound = parts.bind(&source.view, of, part);
            *strides(params) = bound.rows;
            bound.binding
        };
        [
            bind(&self.q, RowsOf::Queries, |p| &mut p.q),
            bind(&self.k, RowsOf::Keys, |p| &mut p.k),
            bind(&self.v, RowsOf::Keys, |p| &mut p.v),
        ]
    }

    /// What it binds of the bias.
    pub fn bind_bias(&self, parts: &Parts, part: &Part) -> Option<Binding> {
        let bias = self.score.bias.as_ref();
        bias.map(|view| parts.bind(view, RowsOf::Pairs, part).binding)
    }

    /// The problem with another slice.
    pub fn part_of(&self, q: Range<u32>, k: Range<u32>) -> Problem {
        Problem {
            slice: Some(Slice { q, k }),
            ..self.problem.clone()
        }
    }

    /// Pairs of the slice that queries see, over all heads, as far as the host knows.
    pub fn pairs(&self) -> u64 {
        pairs(self.problem, &self.schedule)
    }
}

/// Pairs of the slice that queries see, over all heads, as far as the host knows.
pub(in crate::plan) fn pairs(problem: &Problem, schedule: &Schedule<'_>) -> u64 {
    let (shape, q, queries) = (&problem.shape, problem.slice().q, problem.queries());
    if q.is_empty() {
        return 0;
    }
    let heads = schedule.heads();
    let of = |(b, h)| match q.end.min(queries.of(b)) {
        end if end <= q.start => 0,
        end => schedule.pairs(b, h, q.start, end - 1),
    };
    let each = (0..shape.batch).flat_map(|b| (0..heads).map(move |h| (b, h)));
    let pairs = each.map(of).fold(0, u64::saturating_add);
    pairs.saturating_mul(u64::from(shape.q_heads / heads))
}

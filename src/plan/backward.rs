//! The backward pass: delta, then dK and dV by tiles of keys, then dQ by tiles of queries. P is recomputed from lse.

mod bias;
mod delta;
mod grad_kv;
mod grad_q;
mod parameters;
mod target;
mod visits;

use std::cell::OnceCell;
use std::ops::Range;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{Gradient, Input, Params};
use crate::problem::{Problem, Role};
use crate::task::{Backward, Task};

use self::delta::delta;
use super::attention::context::Context;
use super::attention::lookup::addresses;
use super::attention::mask::push_transposed;
use super::attention::positions::explicit;
use super::builder::PlanBuilder;
use super::operation::rotate;
use super::parts::{Lengths, Part, Parts, RowsOf};
use super::step::Bindings;
use super::tiles::{TileChoice, TileRequest};
use super::view::View;
use super::{Declined, Plan, PlanOptions, RotateWhere};

pub(super) fn plan(request: &Backward, caps: &Caps, options: &PlanOptions) -> Result<Plan> {
    let problem = &*explicit(&request.problem);
    if options.decode.is_some() {
        return Err(Error::UnusedOption {
            option: "decode",
            task: "a backward pass",
        });
    }
    if options.rotate == Some(RotateWhere::Fused) {
        return Err(Error::Strategy {
            strategy: "fused rotation",
            reason: "every gradient reads rotated q and k, so a pass before rotates them".into(),
        });
    }
    let mut builder = PlanBuilder::of(problem, caps, options);
    if problem.shared_prefix > 0 {
        builder.decline(Declined {
            path: "cascade",
            reason: "gradients of shared keys are each sequence's own".into(),
        });
    }
    if problem.shape.batch > 0 {
        Pass::new(&mut builder, request, problem)?.steps(&mut builder)?;
    }
    Ok(builder.finish(Task::Backward(Box::new(request.clone()))))
}

/// What all steps of a backward pass share.
struct Pass<'a> {
    request: &'a Backward,
    context: Context<'a>,
    d_o: View,
    /// (lse, Δ)
    stats: View,
    /// What a pass over keys visits, once one is planned.
    by_keys: OnceCell<Params>,
}

/// What brings a gradient from scratch to the caller's buffer. It comes after every kernel that reads an operand, for the
/// buffer may be an operand's.
type Last<'p> = Box<dyn FnOnce(&mut PlanBuilder<'_>) -> Result<()> + 'p>;

impl<'a> Pass<'a> {
    fn new(
        builder: &mut PlanBuilder<'_>,
        request: &'a Backward,
        problem: &'a Problem,
    ) -> Result<Self> {
        let shape = &problem.shape;
        let mut params = Params::of(problem);
        params.part.group_end = shape.group();
        builder.push_lengths(problem, &mut params)?;
        let mut context = Context::new(builder, problem, params, false)?;
        let d_o = builder.input(Role::DO, &request.d_o, problem.q_sizes(), shape.value_dim)?;
        context.params.d_o = d_o.whole().rows;
        let stats = delta(builder, request, problem, &mut context.params, &d_o)?;
        let (address, _) = addresses(problem);
        let (d_o, stats) = (d_o.at(address), stats.at(address));
        if problem.position.rotation().is_some() && problem.slice().has_pairs() {
            let rows = rotate::rotated_rows(&problem.position);
            builder.note(format!(
                "{rows} in a pass before: each gradient reads them anew"
            ));
        }
        context.make_inputs(builder)?;
        context.widen_keys(builder)?;
        Ok(Self {
            request,
            context,
            d_o,
            stats,
            by_keys: OnceCell::new(),
        })
    }

    fn steps(&self, builder: &mut PlanBuilder<'_>) -> Result<()> {
        let slice = self.problem().slice();
        let mut last = Vec::new();
        if !slice.k.is_empty() {
            self.grad_kv(builder, &mut last)?;
        }
        if !slice.q.is_empty() {
            self.grad_q(builder, &mut last)?;
        }
        self.score_gradients(builder, &mut last)?;
        last.into_iter().try_for_each(|step| step(builder))
    }

    /// The tiles of a gradient kernel.
    fn choose(
        &self,
        builder: &mut PlanBuilder<'_>,
        tile_request: TileRequest,
    ) -> Result<TileChoice> {
        let mut chosen = Context::tiles(builder, self.problem(), tile_request)?;
        let d_o = (&self.request.d_o, self.problem().shape.value_dim);
        self.context.settle(builder, &mut chosen, &[d_o]);
        Ok(chosen)
    }

    fn problem(&self) -> &'a Problem {
        self.context.problem
    }

    fn params(&self) -> Params {
        self.context.params
    }

    /// Queries of batch `b` that a step takes of `q`, one past the last.
    fn queries_end(&self, b: u32, q: &Range<u32>) -> u32 {
        q.end.min(self.problem().queries().of(b))
    }

    /// The same of keys.
    fn keys_end(&self, b: u32, k: &Range<u32>) -> u32 {
        k.end.min(self.problem().keys().of(b))
    }

    /// The parameters of a pass over keys: lists and documents are transposed once.
    fn by_keys(&self, builder: &mut PlanBuilder<'_>) -> Result<Params> {
        if let Some(params) = self.by_keys.get() {
            return Ok(*params);
        }
        let mut params = self.params();
        push_transposed(builder, self.problem(), &mut params)?;
        Ok(*self.by_keys.get_or_init(|| params))
    }

    fn key(&self, builder: &PlanBuilder<'_>, chosen: &TileChoice) -> Gradient {
        let shape = &self.problem().shape;
        let Context { q, k, v, .. } = &self.context;
        Gradient {
            strategy: chosen.strategy,
            tiling: chosen.tiling,
            input: Input::of(&[&q.operand, &k.operand], &[shape.head_dim]),
            value: Input::of(&[&v.operand], &[shape.value_dim]),
            d_o: Input::of(&[&self.request.d_o], &[shape.value_dim]),
            q_address: q.address,
            k_address: v.address,
            chunks: shape.head_dim.div_ceil(4),
            value_chunks: shape.value_dim.div_ceil(4),
            score: self.context.score.key_of_rows(chosen),
            mask: self.context.mask,
            vec8: chosen.vec8,
            key_loop: chosen.key_loop,
            count_tiles: builder.options.count_tiles,
        }
    }

    /// The call in parts whose windows of what all gradient kernels read are no larger than a binding, cut at
    /// multiples of `units`: the tiles of what a kernel streams.
    fn parts(&self, builder: &PlanBuilder<'_>, units: Lengths) -> Result<Parts> {
        let problem = self.problem();
        let mut parts = Parts::new(builder, &problem.shape, &problem.slice(), units);
        self.context.fit(&mut parts)?;
        parts.fit(Role::DO.name(), &self.d_o, RowsOf::Queries)?;
        parts.fit("scratch for lse and delta", &self.stats, RowsOf::Queries)?;
        Ok(parts)
    }

    /// What a step of a part binds; the parameters learn the part, and where its rows lie.
    fn bind(
        &self,
        builder: &PlanBuilder<'_>,
        (parts, part): (&Parts, &Part),
        params: &mut Params,
        outputs: Bindings,
    ) -> Bindings {
        *params = part.params(params);
        let [q, k, v] = self.context.bind(parts, part, params);
        let d_o = parts.bind(&self.d_o, RowsOf::Queries, part);
        let stats = parts.bind(&self.stats, RowsOf::Queries, part);
        (params.d_o, params.stats) = (d_o.rows, stats.rows);
        let mut bindings = vec![
            ("q", q),
            ("k", k),
            ("v", v),
            ("d_o", d_o.binding),
            ("stats", stats.binding),
        ];
        // Nobody reads an empty operand, but something must be bound.
        for (_, binding) in bindings.iter_mut().filter(|(_, x)| x.size == 0) {
            *binding = builder.nothing();
        }
        bindings.extend(outputs);
        let bias = self.context.bind_bias(parts, part);
        bindings.extend(bias.map(|bias| ("bias", bias)));
        bindings
    }
}

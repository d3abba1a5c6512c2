//! Forward attention: families of kernels, asked in turn.

mod cascade;
mod decode;
mod fused_rotation;
mod partials;
mod prefill;
pub(super) mod splits;
mod tiled;

use crate::caps::Caps;
use crate::error::Result;
use crate::kernel::Params;
use crate::problem::{Problem, Role};
use crate::task::Task;

use super::attention::lookup::addresses;
use super::attention::positions::explicit;
use super::attention::score;
use super::builder::PlanBuilder;
use super::operation::hadamard;
use super::operation::max_scores::{self, Tensors};
use super::operation::merge::{Target, merge_partials};
use super::parts::Parts;
use super::source::Source;
use super::view::Rows;
use super::{Declined, Plan, PlanOptions};

/// Past this many parts the merge costs more than it gains.
const MOST_SPLITS: u32 = 1024;

/// What a family says of a call.
pub(super) enum Answer {
    /// Its steps are in the plan.
    Planned,
    /// It is not for this call, and nothing of it is in the plan; with the reason where somebody might wonder.
    NotMine(Option<String>),
}

/// What families are asked for.
pub(super) struct Call<'a> {
    pub problem: &'a Problem,
    /// These know the lengths; and how rows of k and v are found, where those are bound.
    pub params: Params,
    pub target: &'a Target,
    /// q, k and v where they are bound already.
    pub inputs: Option<[Source; 3]>,
    /// Queries up to which it is decode, where nobody says otherwise.
    pub few: u32,
}

/// A way to compute a call: it takes it or says why not.
struct Family {
    name: &'static str,
    steps: fn(&mut PlanBuilder<'_>, &Call<'_>) -> Result<Answer>,
}

/// The families in the order in which they are asked: the last takes every call.
const FAMILIES: [Family; 4] = [
    Family {
        name: "fill",
        steps: fill,
    },
    Family {
        name: "cascade",
        steps: cascade::steps,
    },
    Family {
        name: "decode",
        steps: decode::steps,
    },
    Family {
        name: "prefill",
        steps: prefill::steps,
    },
];

pub(super) fn plan(request: &Problem, caps: &Caps, options: &PlanOptions) -> Result<Plan> {
    plan_of_few(request, caps, options, decode::MOST_QUERIES)
}

/// The same with another threshold to decode.
fn plan_of_few(request: &Problem, caps: &Caps, options: &PlanOptions, few: u32) -> Result<Plan> {
    let problem = &*explicit(request);
    let mut builder = PlanBuilder::of(problem, caps, options);
    let mut params = Params::of(problem);
    let largest = Tensors::bind(&mut builder, problem, &params)?;
    if problem.shape.batch > 0 && !problem.slice().q.is_empty() && problem.queries().count() > 0 {
        builder.push_lengths(problem, &mut params)?;
        score::push_sinks(&mut builder, problem, &mut params)?;
        let target = bind_target(&mut builder, problem, &largest)?;
        let steps = |builder: &mut PlanBuilder<'_>, target: &Target| {
            let call = Call {
                problem,
                params,
                target,
                inputs: None,
                few,
            };
            choose(builder, &call)
        };
        match problem.v_hadamard {
            true => hadamard::rotate_back(&mut builder, problem, params, &target, steps)?,
            false => steps(&mut builder, &target)?,
        }
    }
    largest.bring(&mut builder, &params)?;
    Ok(builder.finish(Task::Attention(Box::new(request.clone()))))
}

fn choose(builder: &mut PlanBuilder<'_>, call: &Call<'_>) -> Result<()> {
    for family in &FAMILIES {
        match (family.steps)(builder, call)? {
            Answer::Planned => break,
            Answer::NotMine(None) => {}
            Answer::NotMine(Some(reason)) => builder.decline(Declined {
                path: family.name,
                reason,
            }),
        }
    }
    Ok(())
}

/// Without keys every row is fully masked.
fn fill(builder: &mut PlanBuilder<'_>, call: &Call<'_>) -> Result<Answer> {
    let &Call {
        problem,
        params,
        target,
        ..
    } = call;
    if !call.problem.slice().k.is_empty() {
        return Ok(Answer::NotMine(None));
    }
    builder.note("there are no keys: o and lse are filled".into());
    let params = params.of_rows(problem.queries().is_ragged(), problem.q_sizes());
    let mut parts = Parts::of_rows(builder, &Rows::of(&params));
    target.fit(builder, &mut parts)?;
    parts.settle(builder)?;
    for rows in parts.rows() {
        merge_partials(builder, (&params, &rows), 0, None, target)?;
        if let Some(to) = &target.max_scores {
            let none = builder.nothing();
            max_scores::join(builder, (&params, &rows), 0, none, to)?;
        }
    }
    Ok(Answer::Planned)
}

fn bind_target(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    largest: &Tensors,
) -> Result<Target> {
    let sizes = problem.q_sizes();
    let (address, _) = addresses(problem);
    let o = builder.output(Role::O, &problem.o, sizes, problem.shape.value_dim)?;
    let lse = builder.output(Role::Lse, &problem.lse_operand(), sizes, 1)?;
    let (o, lse) = (o.at(address), lse.at(address));
    Ok(Target {
        operand: problem.o,
        o,
        lse,
        max_scores: largest.deferred,
    })
}

//! Forward attention: families of kernels, asked in turn.

pub(super) mod prefill;

use crate::caps::Caps;
use crate::error::Result;
use crate::kernel::Params;
use crate::problem::{Element, Layout, Operand, Problem, Role};
use crate::task::Task;

use super::attention::positions::spelled_out;
use super::attention::score;
use super::builder::Draft;
use super::operation::merge::{Target, combine};
use super::{Declined, Plan, PlanOptions};

/// What a family says of a call.
pub(super) enum Answer {
    /// Its steps are in the plan.
    Planned,
    /// It is not for this call, and nothing of it is in the plan; with the reason where somebody might wonder.
    NotMine(Option<String>),
}

/// A way to compute a call: it takes it or says why not.
struct Family {
    name: &'static str,
    steps: fn(&mut Draft<'_>, &Problem, Params, &Target) -> Result<Answer>,
}

/// The families in the order in which they are asked: the last takes every call.
const FAMILIES: [Family; 2] = [
    Family {
        name: "fill",
        steps: fill,
    },
    Family {
        name: "prefill",
        steps: prefill::steps,
    },
];

pub(super) fn plan(stated: &Problem, caps: &Caps, options: &PlanOptions) -> Result<Plan> {
    let problem = &*spelled_out(stated);
    let mut draft = Draft::of(problem, caps, options);
    if problem.shape.batch > 0 && !problem.slice().q.is_empty() {
        let mut params = Params::of(problem);
        draft.push_lengths(problem, &mut params)?;
        score::push_sinks(&mut draft, problem, &mut params);
        let target = bind_target(&mut draft, problem)?;
        choose(&mut draft, problem, params, &target)?;
    }
    Ok(draft.finish(Task::Attention(Box::new(stated.clone()))))
}

fn choose(draft: &mut Draft<'_>, problem: &Problem, params: Params, target: &Target) -> Result<()> {
    for family in &FAMILIES {
        match (family.steps)(draft, problem, params, target)? {
            Answer::Planned => break,
            Answer::NotMine(None) => {}
            Answer::NotMine(Some(reason)) => draft.decline(Declined {
                path: family.name,
                reason,
            }),
        }
    }
    Ok(())
}

/// Without keys every row is fully masked.
fn fill(
    draft: &mut Draft<'_>,
    problem: &Problem,
    params: Params,
    target: &Target,
) -> Result<Answer> {
    if !problem.slice().k.is_empty() {
        return Ok(Answer::NotMine(None));
    }
    draft.note("there are no keys: o and lse are filled".into());
    combine(draft, params, 0, None, target)?;
    Ok(Answer::Planned)
}

fn bind_target(draft: &mut Draft<'_>, problem: &Problem) -> Result<Target> {
    let shape = &problem.shape;
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let o = draft.output(Role::O, &problem.o, sizes, shape.value_dim)?;
    let layout = Layout::heads_first(shape.q_heads, shape.q_len, 1);
    let lse = draft.output(Role::Lse, &Operand::new(Element::F32, layout), sizes, 1)?;
    Ok(Target {
        operand: problem.o,
        o,
        lse,
    })
}

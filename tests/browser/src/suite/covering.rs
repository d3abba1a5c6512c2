//! The covering arrays' part for this device: each variant with a few cases of the table.

use wgpu_attention::Plan;
use wgpu_attention::internal::{Gradient, MaskKey, Prefill, Variant};
use wgpu_attention::{Attention, Element};

use super::Experiment;
use crate::support::backward::{Given, request};
use crate::support::cases::Case;
use crate::support::variants::{backward, forward};

/// Cases of a forward variant. A variant costs its compilation, a case next to nothing.
const CASES: usize = 4;

pub fn experiments(attention: &Attention) -> Vec<Experiment> {
    let mut all = Vec::new();
    for (number, variant) in crate::support::covering::forward().into_iter().enumerate() {
        if let Some(key) = forward::key(&variant) {
            all.extend(of_forward(attention, number, &variant, key));
        }
    }
    for (number, variant) in crate::support::covering::backward::all()
        .into_iter()
        .enumerate()
    {
        all.extend(of_backward(attention, number, &variant));
    }
    all
}

fn uses(plan: &Plan, variant: &Variant) -> bool {
    plan.steps().iter().any(|step| step.variant() == *variant)
}

/// The cases from number `number` on, with their own numbers, in the order of the table.
fn from(cases: Vec<Case>, number: usize) -> Vec<(usize, Case)> {
    let mut cases: Vec<_> = cases.into_iter().enumerate().collect();
    let start = number * 7 % cases.len();
    cases.rotate_left(start);
    cases
}

fn of_forward(
    attention: &Attention,
    number: usize,
    variant: &Variant,
    (key, decode): (Prefill, bool),
) -> Vec<Experiment> {
    if !forward::can_run(&key, attention.caps()) {
        return Vec::new();
    }
    let (variant, choice) = (*variant, forward::choice(&key, decode));
    let plans = |case: &Case| {
        let plan = attention.plan_with(&case.problem, &choice);
        plan.is_ok_and(|plan| uses(&plan, &variant))
    };
    let cases = from(forward::cases_of(&key), number).into_iter();
    let cases = cases.filter(|(_, case)| plans(case)).take(CASES);
    let experiment = |(n, case): (usize, Case)| {
        let name = format!("{variant}, {}", case.name);
        let case = (case, forward::data(n, &key), n as u64);
        Experiment::forward("forward variants", name, case, choice.clone())
    };
    cases.map(experiment).collect()
}

fn of_backward(attention: &Attention, number: usize, variant: &Variant) -> Option<Experiment> {
    let key: Gradient = backward::key(variant)?;
    // Lists and documents have experiments of their own.
    if !backward::can_run(variant, &key, attention.caps()) || key.mask != MaskKey::default() {
        return None;
    }
    let choice = backward::choice(&key);
    let score = !matches!(variant, Variant::GradQ(_) | Variant::GradKv(_));
    let given = move |case: &Case, n: usize| Given {
        score,
        element: if n.is_multiple_of(2) {
            Element::F32
        } else {
            key.value.element
        },
        ..Given::new(case, n as u64)
    };
    let plans = |(n, case): &(usize, Case)| {
        let plan = attention.plan_backward_with(&request(case, &given(case, *n)), &choice);
        plan.is_ok_and(|plan| uses(&plan, variant))
    };
    let (n, case) = from(backward::cases_of(variant, &key), number)
        .into_iter()
        .find(plans)?;
    let name = format!("{variant}, {}", case.name);
    let given = move |case: &Case| given(case, n);
    Some(Experiment::backward(
        "gradient variants",
        name,
        (case, n as u64),
        given,
        choice,
    ))
}

//! Positions in attention and on their own: rotations, biases by distance, dense biases, sinks, tables.

mod biases;
mod embedding;
mod rope;
mod rotation;
mod sinks;

use wgpu_attention::plan::RotateWhere;
use wgpu_attention::problem::position::RotaryLayout;
use wgpu_attention::{Element, Plan, PlanOptions};

use crate::device::gpu;
use crate::run::{check, run, strategies};
use crate::support::cases::Case;
use crate::support::compare::error;
use crate::support::inputs::{Data, Inputs};

const LAYOUTS: [RotaryLayout; 2] = [RotaryLayout::Half, RotaryLayout::Interleaved];

/// Both strategies, with the rotation in the kernel and before it.
fn everywhere() -> Vec<PlanOptions> {
    let places = [RotateWhere::Fused, RotateWhere::Pass];
    let choices = strategies(gpu()).into_iter();
    choices
        .flat_map(|choice| places.map(|place| choice.clone().with_rotate(place)))
        .collect()
}

/// Runs a case by each choice, holds every answer against the reference and (in f32) against the first one.
fn agree(case: &Case, choices: &[PlanOptions]) -> Vec<Plan> {
    agree_on(case, &Inputs::new(case, Data::Normal(1.0), 11), choices)
}

fn agree_on(case: &Case, inputs: &Inputs, choices: &[PlanOptions]) -> Vec<Plan> {
    let mut first: Option<Vec<f64>> = None;
    let mut plans = Vec::new();
    for choice in choices {
        let (plan, output) = run(gpu(), &gpu().attention, case, inputs, choice);
        let context = format!("{}\n{choice:?}\n{plan}", case.name);
        check(case, inputs, &output, &context);
        let o = output.forward(case).o;
        let first = first.get_or_insert_with(|| o.clone());
        let near = finite(&o, first);
        assert!(
            near < NEAR || case.problem.o.element != Element::F32,
            "{near:e} from the first choice's\n{context}"
        );
        plans.push(plan);
    }
    plans
}

/// Two honest f32 programs differ by less, in units of the answer's RMS.
const NEAR: f64 = 2e-5;

/// The largest difference of what is computed in both, in units of the RMS.
fn finite(a: &[f64], b: &[f64]) -> f64 {
    let (a, b): (Vec<_>, Vec<_>) = a.iter().zip(b).filter(|(x, _)| x.is_finite()).unzip();
    error(&a, &b)
}

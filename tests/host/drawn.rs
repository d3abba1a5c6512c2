//! Plans of drawn problems: over sizes, elements, masks, scores, positions, blocks and gradients, every step keeps every
//! limit of the device. Nearly all draws are legal, so that the limits and not the refusals are what is tested.
//! `cargo xtask fuzz` draws others.

use wgpu_attention::{Backward, Caps, Element, Error, Plan, PlanOptions, Problem};

use crate::support::drawn::device::{self, keeps_limits};
use crate::support::drawn::{Draw, Extent, case, mask_mod};

const EXTENT: Extent = Extent {
    len: 700,
    dim: 576,
    outputs: 1,
};

/// A problem with everything that a plan looks at.
pub fn problem(draw: &mut Draw) -> Problem {
    problem_of(draw, EXTENT)
}

fn problem_of(draw: &mut Draw, extent: Extent) -> Problem {
    let mut problem = case(draw, extent).problem;
    problem.mods = draw.one_in(4).then(mask_mod);
    problem
}

/// Its plan, or that of all its gradients.
pub fn plan(
    problem: Problem,
    gradient: bool,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan, Error> {
    if !gradient {
        return Plan::attention(&problem, caps, options);
    }
    let score = problem.score.clone();
    let backward = Backward::new(problem, Element::F32)
        .with_dbias(score.bias.is_some())
        .with_dslopes(score.slopes.is_some())
        .with_dsinks(score.sinks.is_some())
        .with_dt5(score.t5.is_some());
    Plan::backward(&backward, caps, options)
}

#[test]
fn plans_of_drawn_problems_keep_every_limit() {
    const CASES: u64 = 256;
    let mut refused = Vec::new();
    for seed in 0..CASES {
        let mut draw = Draw::new(seed);
        let problem = problem(&mut draw);
        let (gradient, caps) = (draw.one_in(2), device::draw(&mut draw));
        match plan(problem, gradient, &caps, &PlanOptions::default()) {
            Ok(plan) => keeps_limits(&plan, &caps)
                .unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{caps:?}\n{plan}")),
            Err(error) => refused.push(error.to_string()),
        }
    }
    assert!(
        10 * refused.len() as u64 <= CASES,
        "{} of {CASES} draws are refused:\n{}",
        refused.len(),
        refused.join("\n")
    );
}

/// Operands larger than one binding are cut: what of a tensor a step binds is never more, and nothing but the limit that it
/// names refuses a plan.
#[test]
fn plans_of_drawn_problems_keep_small_bindings() {
    const CASES: u64 = 256;
    // Tables and masks are not cut: rows are no longer than they were when the bound below was set.
    let extent = Extent { dim: 256, ..EXTENT };
    let (mut refused, mut cut) = (Vec::new(), 0);
    for seed in 0..CASES {
        let mut draw = Draw::new(seed);
        let problem = problem_of(&mut draw, extent);
        let (gradient, caps) = (draw.one_in(2), device::draw(&mut draw));
        let options = PlanOptions::default().with_shared_outputs(draw.one_in(4));
        if plan(problem.clone(), gradient, &caps, &options).is_err() {
            continue;
        }
        let caps = caps.with_binding_bytes(draw.pick(&[16 << 10, 64 << 10, 256 << 10]));
        match plan(problem, gradient, &caps, &options) {
            Ok(plan) => {
                cut += usize::from(plan.to_string().contains(": cut over"));
                keeps_limits(&plan, &caps)
                    .unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{caps:?}\n{plan}"));
            }
            // A table lies in one binding; how many draws have a long one says nothing of what is cut.
            Err(Error::Limit {
                what: "the rotary table",
                ..
            }) => {}
            Err(error @ Error::Limit { .. }) => refused.push(error.to_string()),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    let said = format!(
        "{cut} cut, {} refused:\n{}",
        refused.len(),
        refused.join("\n")
    );
    assert!(
        5 * refused.len() as u64 <= CASES && 3 * cut as u64 >= CASES,
        "{said}"
    );
}

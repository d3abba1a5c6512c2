//! Plans of drawn problems: over sizes, elements, masks, scores, positions, blocks and gradients, every step keeps every
//! limit of the device. Nearly all draws are legal, so that the limits and not the refusals are what is tested.
//! `cargo xtask fuzz` draws others.

use wgpu_attention::{Backward, Caps, Element, Error, Plan, PlanOptions, Problem};

use crate::support::drawn::device::{self, keeps_limits};
use crate::support::drawn::{Draw, Extent, case, mask_mod};

const EXTENT: Extent = Extent {
    len: 700,
    dim: 256,
    outputs: 1,
};

fn plan(problem: Problem, gradient: bool, caps: &Caps) -> Result<Plan, Error> {
    if !gradient {
        return Plan::attention(&problem, caps, &PlanOptions::default());
    }
    let (bias, slopes, sinks, t5) = (
        problem.score.bias.is_some(),
        problem.score.slopes.is_some(),
        problem.score.sinks.is_some(),
        problem.score.t5.is_some(),
    );
    let mut backward = Backward::new(problem, Element::F32);
    (backward.dbias, backward.dslopes) = (bias, slopes);
    (backward.dsinks, backward.dt5) = (sinks, t5);
    Plan::backward(&backward, caps, &PlanOptions::default())
}

#[test]
fn plans_of_drawn_problems_keep_every_limit() {
    const CASES: u64 = 256;
    let mut refused = Vec::new();
    for seed in 0..CASES {
        let mut draw = Draw::new(seed);
        let mut problem = case(&mut draw, EXTENT).problem;
        problem.mods = draw.one_in(4).then(mask_mod);
        let (gradient, caps) = (draw.one_in(2), device::draw(&mut draw));
        match plan(problem, gradient, &caps) {
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

//! Texts of user functions: what `Mods::new` accepts stands in every kernel that calls it.

use std::time::{Duration, Instant};

use wgpu_attention::problem::Mods;
use wgpu_attention::{Backward, Caps, Element, Error, Plan, PlanOptions, Problem, Shape};

use crate::bytes;
use crate::kind::{Done, Outcome};
use crate::support::drawn::Draw;

const PATIENCE: Duration = Duration::from_secs(5);
const TEXTS: [&str; 5] = [
    "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i * 5u + j) % 7u != 2u; }",
    "const SLOPE = 0.125;
fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    return score - SLOPE * abs(f32(i32(i) + query_offset(b) - i32(j)));
}
fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }",
    "struct Place { row: u32, column: u32 }
alias Index = u32;
fn document(n: Index) -> u32 {
    var d = 0u;
    while d < 4u && f32(n) >= mod_data(d) { d++; }
    return d;
}
fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    let p = Place(document(i), document(j));
    return p.row == p.column;
}",
    "const SIDES = array<u32, 2>(16u, 0x1e2u);
const_assert SIDES[0] == 16u;
fn near(reach: ptr<function, f32>, x: f32) -> bool { *reach = *reach * 1.5e-3f + x; return x < *reach; }
fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    var reach = mod_data(h);
    var sides = array<u32, 2>(i, j);
    for (var n = 0u; n < 4u; n++) { sides[n % 2u] += 1u; }
    if near(&reach, f32(i)) { return true; }
    switch sides[1] % 3u { case 0u: { return false; } default: { return i > j; } }
}",
    "fn soft(x: f32) -> f32 { return 5.0 * tanh(x / 5.0); }
fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return soft(score) + mod_data(j); }
fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    let t = soft(score) / 5.0;
    return 1.0 - t * t;
}",
];

pub fn case(seed: u64) -> Outcome {
    let mut draw = Draw::new(seed);
    let text = bytes::text(&mut draw, draw_text(seed));
    let start = Instant::now();
    let mods = Mods::new(&text);
    let took = start.elapsed();
    if took > PATIENCE {
        return Err(format!("Mods::new took {took:?}\n{text}"));
    }
    match mods {
        Ok(mods) => stands(mods).map_err(|e| format!("{e}\n{text}")),
        Err(Error::Mods { .. }) => Ok(Done::Refused),
        Err(other) => Err(format!("not an error of a text: {other}\n{text}")),
    }
}

fn draw_text(seed: u64) -> &'static str {
    TEXTS[seed as usize % TEXTS.len()]
}

/// Every kernel that calls the functions is valid with them.
fn stands(mods: Mods) -> Outcome {
    let mut problem = Problem::new(Shape::square(1, 2, 40, 8), Element::F32);
    problem.mods = Some(mods);
    let (caps, options) = (Caps::BASELINE, PlanOptions::default());
    let mut plans = vec![Plan::attention(&problem, &caps, &options)];
    plans.push(Plan::backward(
        &Backward::new(problem, Element::F32),
        &caps,
        &options,
    ));
    for plan in plans {
        let plan = match plan {
            Ok(plan) => plan,
            Err(Error::NoScoreGradient) => continue,
            Err(error) => return Err(format!("a text that was accepted has no plan: {error}")),
        };
        let start = Instant::now();
        for step in plan
            .steps()
            .iter()
            .filter(|step| step.variant().uses_mods())
        {
            let variant = step.variant();
            let shader = variant.compose(plan.mods()).map_err(|e| e.to_string())?;
            let valid = shader.validate(variant.needs());
            valid
                .map_err(|e| format!("a text that was accepted is not valid in {variant}: {e}"))?;
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("composing took {:?}", start.elapsed()));
        }
    }
    Ok(Done::Held)
}

//! What a setting adds to every case of the table: biases, and positions that matter.

use wgpu_attention::problem::position::{Rotary, RotaryLayout, Temperature};
use wgpu_attention::problem::{
    Layout, Offsets, Positions, Problem, Score, T5, T5Bias, Values, alibi_slopes,
};

use super::{Case, Setting};

/// A bias by distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    Alibi,
    T5,
}

/// How q and k rotate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotaryCase {
    pub layout: RotaryLayout,
    pub temperature: bool,
}

/// Queries stand no further than this from the keys where distances enter the score: f32 tells near distances apart.
const FARTHEST: i32 = 200;

/// Adds the setting's parts of the score and its positions.
pub fn apply(setting: &Setting, problem: &mut Problem) {
    let shape = problem.shape;
    problem.score = Score::default().with_softcap(setting.softcap).with_bias(
        (setting.bias).then(|| Layout::heads_first(shape.q_heads, shape.q_len, shape.kv_len)),
    );
    problem.score.bias_element = setting.bias_element;
    problem.score.bias_before_softcap = setting.bias_first;
    match setting.distance {
        None => {}
        Some(Distance::Alibi) => {
            problem.score.slopes = Some(Values::Host(alibi_slopes(shape.q_heads)));
        }
        Some(Distance::T5) => problem.score.t5 = Some(t5(shape.q_heads)),
    }
    problem.position.rotary = setting
        .rotation
        .map(|rotation| rotary(&rotation, shape.head_dim));
    if setting.positions {
        let given = |len: u32, step: i32, start: i32| {
            let tokens = (shape.batch * len) as i32;
            Positions::Host((0..tokens).map(|n| step * (n % 37) - start).collect())
        };
        problem.position.q_positions = given(shape.q_len, 2, 9);
        problem.position.k_positions = given(shape.kv_len, 1, 4);
    }
}

/// Both directions in 8 buckets.
fn t5(heads: u32) -> T5Bias {
    let table = (0..8 * heads).map(|n| (0.9 * n as f32).sin()).collect();
    T5Bias::new(
        T5::both().with_buckets(8).with_distance(20),
        Values::Host(table),
    )
}

fn rotary(rotation: &RotaryCase, head_dim: u32) -> Rotary {
    Rotary::new(head_dim)
        // Whole 4-vectors, as a kernel needs them that rotates what it loads.
        .with_dim(head_dim / 8 * 8)
        .with_layout(rotation.layout)
        .with_temperature(
            rotation
                .temperature
                .then_some(Temperature::new(0.3, 16).with_offset(1)),
        )
}

/// Brings offsets near the keys where positions matter, and states the range of those on the device.
pub fn near(case: &mut Case) {
    let problem = &mut case.problem;
    if !problem.score.uses_positions() && problem.position.rotary.is_none() {
        return;
    }
    let clamp = |offset: &mut i32| *offset = (*offset).clamp(-FARTHEST, FARTHEST);
    if let Offsets::Host(offsets) = &mut problem.mask.q_offset {
        offsets.iter_mut().for_each(clamp);
    }
    case.q_offset.iter_mut().flatten().for_each(clamp);
    if problem.mask.q_offset == Offsets::Device {
        problem.position.range = Some(-2 * FARTHEST..=2 * FARTHEST);
    }
}

//! The parts of a score in f32.

use wgpu_attention::problem::{Problem, Values};
use wgpu_attention::reference::Tensors;

use super::position::{key_position, query_position};

/// `s` before anything is added, and `∂s/∂x`.
pub struct Score {
    pub value: f32,
    pub slope: f32,
}

/// `scale·⟨q, k⟩`, and what joins it `before`, under the softcap.
pub fn capped(problem: &Problem, product: f32, before: f32) -> Score {
    let x = problem.scale() * product + before;
    let Some(c) = problem.score.softcap else {
        return Score {
            value: x,
            slope: 1.0,
        };
    };
    let ratio = (x / c).tanh();
    Score {
        value: c * ratio,
        slope: 1.0 - ratio * ratio,
    }
}

/// What is added to the score of a pair before the softcap and after it: −∞ where the bias hides it.
pub fn added(problem: &Problem, tensors: &Tensors, pair: (u32, u32, u32, u32)) -> [f32; 2] {
    let bias = bias(problem, tensors, pair);
    let distance = by_distance(problem, tensors, pair);
    match problem.score.bias_before_softcap {
        true => [bias, distance],
        false => [0.0, bias + distance],
    }
}

fn by_distance(problem: &Problem, tensors: &Tensors, (b, h, i, j): (u32, u32, u32, u32)) -> f32 {
    let (score, heads) = (&problem.score, problem.shape.q_heads);
    let mut sum = 0.0;
    if score.uses_positions() {
        let relative =
            key_position(problem, tensors, b, j) - query_position(problem, tensors, b, i);
        if let Some(slopes) = &score.slopes {
            sum -=
                values(slopes, tensors.slopes)[slope_index(problem, b, h)] * relative.abs() as f32;
        }
        if let Some(t5) = &score.t5 {
            let thresholds = t5.buckets.thresholds().expect("a validated problem");
            let bucket = t5.buckets.bucket(relative, &thresholds);
            sum += values(&t5.table, tensors.t5)[(bucket * heads + h) as usize];
        }
    }
    sum
}

/// Where the slope of a batch and head stands.
pub fn slope_index(problem: &Problem, b: u32, h: u32) -> usize {
    let batch = if problem.score.slopes_per_batch { b } else { 0 };
    (batch * problem.shape.q_heads + h) as usize
}

fn bias(problem: &Problem, tensors: &Tensors, (b, h, i, j): (u32, u32, u32, u32)) -> f32 {
    let shape = &problem.shape;
    tensors.bias.map_or(0.0, |bias| {
        let (b, h) = (b.min(bias.batch - 1), h.min(bias.heads - 1));
        let row = (b * bias.heads + h) * bias.rows + i.min(bias.rows - 1);
        bias.values[(row * shape.kv_len + j) as usize] as f32
    })
}

/// The sink of a head, in a call over all keys.
pub fn sink(problem: &Problem, tensors: &Tensors, h: u32) -> Option<f32> {
    let whole = problem.slice().k == (0..problem.shape.kv_len);
    let sinks = problem.score.sinks.as_ref().filter(|_| whole)?;
    Some(values(sinks, tensors.sinks)[h as usize])
}

fn values<'a>(given: &'a Values, device: Option<&'a [f32]>) -> &'a [f32] {
    match given {
        Values::Host(values) => values,
        Values::Device => device.expect("values of the device are given as tensors"),
    }
}

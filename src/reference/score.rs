//! The score of a pair, from the product q·k to the mask. A new part of the score is one more line here.

use crate::problem::{Problem, Values};

use super::{Tensors, dot, position};

/// The score s of one pair and what the backward pass needs of it.
pub(super) struct Score {
    pub value: f64,
    /// `∂s/∂x` of the scaled product x.
    pub slope: f64,
}

/// `x = scale·⟨q_i, k_j⟩` of q and k as they are rotated already, `t = c·tanh(x/c)` under a softcap c, else `t = x`;
/// `s = t + bias_ij − slope_h·|p_i − p_j| + T5[bucket(p_j − p_i), h]`. A bias before the softcap joins x instead of t.
///
/// −∞ of a pair that the bias hides, whatever q and k are there.
pub(super) fn score(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> Score {
    let bias = bias(problem, tensors, b, h, i, j);
    if bias == f64::NEG_INFINITY {
        return Score {
            value: bias,
            slope: 0.0,
        };
    }
    let product = dot(
        tensors.query(problem, b, h, i),
        tensors.key(problem, b, h, j),
    );
    let x = scale(problem) * product;
    let (before, after) = match problem.score.bias_before_softcap {
        true => (bias, 0.0),
        false => (0.0, bias),
    };
    let capped = softcap(problem, x + before);
    let value = capped.value + after + distance_bias(problem, tensors, b, h, i, j);
    Score { value, ..capped }
}

/// A bias below this hides its pair, as −∞ does.
const HIDING_BIAS: f64 = -2e38;

fn bias(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> f64 {
    let Some(bias) = tensors.bias.filter(|_| problem.score.bias.is_some()) else {
        return 0.0;
    };
    let shape = &problem.shape;
    let shared = |n: u32, size: u32| n.min(size - 1) as usize;
    let (b, h) = (shared(b, bias.batch), shared(h, bias.heads));
    let row = (b * bias.heads as usize + h) * bias.rows as usize + shared(i, bias.rows);
    match bias.values[row * shape.kv_len as usize + j as usize] {
        x if x < HIDING_BIAS => f64::NEG_INFINITY,
        x => x,
    }
}

/// ALiBi and T5: what depends on positions alone.
fn distance_bias(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> f64 {
    let (score, heads) = (&problem.score, problem.shape.q_heads as usize);
    if !score.uses_positions() {
        return 0.0;
    }
    let p_q = position::query_position(problem, tensors, b, i);
    let relative = position::key_position(problem, tensors, b, j) - p_q;
    let mut sum = 0.0;
    if let Some(slopes) = &score.slopes {
        let slope = values(slopes, tensors.slopes)[score.slope_index(&problem.shape, b, h)];
        sum -= f64::from(slope) * relative.abs() as f64;
    }
    if let Some(t5) = &score.t5 {
        let thresholds = t5.buckets.thresholds().expect("a validated problem");
        let bucket = t5.buckets.bucket(relative, &thresholds) as usize;
        sum += f64::from(values(&t5.table, tensors.t5)[bucket * heads + h as usize]);
    }
    sum
}

/// The learned sink of a head, in a call over all keys.
pub(super) fn sink(problem: &Problem, tensors: &Tensors, h: u32) -> Option<f64> {
    let whole = problem.slice().k == (0..problem.shape.kv_len);
    let sinks = problem.score.sinks.as_ref().filter(|_| whole)?;
    Some(f64::from(values(sinks, tensors.sinks)[h as usize]))
}

fn values<'a>(given: &'a Values, device: Option<&'a [f32]>) -> &'a [f32] {
    match given {
        Values::Host(values) => values,
        Values::Device => device.expect("values that live on the device are given as tensors"),
    }
}

/// `1/√D` in f64 unless the problem states its own factor.
pub(super) fn scale(problem: &Problem) -> f64 {
    let default = || 1.0 / f64::from(problem.shape.head_dim).sqrt();
    problem.scale.map_or_else(default, f64::from)
}

fn softcap(problem: &Problem, x: f64) -> Score {
    let Some(c) = problem.score.softcap.map(f64::from) else {
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

//! The score of a pair, from the product q·k to the mask. A new part of the score is one more line here.

use crate::problem::Problem;

use super::{Tensors, dot};

/// The score s of one pair and what the backward pass needs of it.
pub(super) struct Score {
    pub value: f64,
    /// `∂s/∂x` of the scaled product x.
    pub slope: f64,
}

/// `x = scale·⟨q_i, k_j⟩`, `s = c·tanh(x/c)` under a softcap c, else `s = x`.
pub(super) fn score(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32, j: u32) -> Score {
    let product = dot(
        tensors.query(problem, b, h, i),
        tensors.key(problem, b, h, j),
    );
    softcap(problem, scale(problem) * product)
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

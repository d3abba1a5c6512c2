//! The definition of attention in f64: one row at a time, no tiling, no running maximum.
//!
//! Everything that a kernel computes is compared with this, so it shares no code with any: it knows
//! [`crate::problem`] only and follows the conventions of the crate's front page word by word. Operands are logical
//! `[B, H, N, D]` arrays, already decoded from their storage; layouts and elements of the problem play no part.
//!
//! It trusts its caller: sizes that contradict the problem panic.

mod backward;
mod hadamard;
mod mask;
mod max_score;
mod position;
mod score;
mod select;
mod tensors;

pub use backward::{Gradients, ScoreGradients, backward, score_gradients};
pub use mask::visible;
pub use max_score::{max_scores, max_scores_per_head};
pub use select::{selected, selection};
pub use tensors::{Bias, Tensors};

use crate::problem::{Problem, Slice};

/// What a forward call yields, or one partial of it: o `[B, Hq, Nq, Dv]` and lse `[B, Hq, Nq]`, natural logarithm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forward {
    /// `[B, Hq, Nq, Dv]`
    pub o: Vec<f64>,
    /// `[B, Hq, Nq]`
    pub lse: Vec<f64>,
}

impl Forward {
    /// Of o `[B, Hq, Nq, Dv]` and lse `[B, Hq, Nq]`.
    pub fn new(o: Vec<f64>, lse: Vec<f64>) -> Self {
        Self { o, lse }
    }
}

/// The rows of the problem's slice, over the keys of the slice. Rows outside of it are NaN.
pub fn forward(problem: &Problem, tensors: &Tensors) -> Forward {
    let dim = problem.shape.value_dim as usize;
    let rows = problem.shape.rows() as usize;
    let mut out = Forward {
        o: vec![f64::NAN; rows * dim],
        lse: vec![f64::NAN; rows],
    };
    let problem = &selected(problem, tensors);
    let rotated = position::Rotated::new(problem, tensors);
    let tensors = &rotated.view(tensors);
    for (b, h, i) in rows_of(problem) {
        let row = row_index(problem, b, h, i);
        let (o, lse) = rotated_row(problem, tensors, b, h, i);
        out.o[row * dim..][..dim].copy_from_slice(&o);
        out.lse[row] = lse;
    }
    out
}

/// One row `(o [Dv], lse)` over the keys of the problem's slice, for samples of problems too large for [`forward`];
/// blocks are to be [`selected`] before.
pub fn forward_row(
    problem: &Problem,
    tensors: &Tensors,
    b: u32,
    h: u32,
    i: u32,
) -> (Vec<f64>, f64) {
    let rotated = position::Rotated::new(problem, tensors);
    rotated_row(problem, &rotated.view(tensors), b, h, i)
}

/// One row of q and k that are rotated already.
fn rotated_row(problem: &Problem, tensors: &Tensors, b: u32, h: u32, i: u32) -> (Vec<f64>, f64) {
    let mut o = vec![0.0; problem.shape.value_dim as usize];
    let scores: Vec<(u32, f64)> = visible_keys(problem, tensors, b, h, i)
        .map(|j| (j, score::score(problem, tensors, b, h, i, j).value))
        .collect();
    let sink = score::sink(problem, tensors, h);
    let lse = log_sum_exp(scores.iter().map(|&(_, s)| s).chain(sink));
    for (j, s) in scores {
        // o += P·v
        // A pair that the bias hides (−∞) weighs nothing.
        if s != f64::NEG_INFINITY {
            add_scaled(&mut o, (s - lse).exp(), tensors.value(problem, b, h, j));
        }
    }
    if problem.v_hadamard {
        o = hadamard::hadamard(&o, problem.shape.value_dim);
    }
    (o, lse)
}

/// Joins partials of the same rows over disjoint keys: `lse = ln Σ e^lse_k`, `O = Σ e^(lse_k − lse)·O_k`.
///
/// An empty partial is `(o, lse) = (0, −∞)`, and so is a merge of nothing but those.
pub fn merge(partials: &[Forward]) -> Forward {
    let Some(first) = partials.first() else {
        return Forward {
            o: Vec::new(),
            lse: Vec::new(),
        };
    };
    let lse: Vec<f64> = (0..first.lse.len())
        .map(|row| log_sum_exp(partials.iter().map(|partial| partial.lse[row])))
        .collect();
    let mut o = vec![0.0; first.o.len()];
    let dim = o.len() / lse.len().max(1);
    for (row, &whole) in lse.iter().enumerate() {
        // A partial without keys weighs nothing; −∞ − −∞ would be NaN.
        for partial in partials
            .iter()
            .filter(|partial| partial.lse[row] != f64::NEG_INFINITY)
        {
            let weight = (partial.lse[row] - whole).exp();
            add_scaled(
                &mut o[row * dim..][..dim],
                weight,
                &partial.o[row * dim..][..dim],
            );
        }
    }
    Forward { o, lse }
}

/// `ln Σ e^x`, taken relative to the largest x; −∞ of nothing.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    // A NaN is passed over by `max`, but not by this sum.
    let sum = values
        .filter(|&x| x != f64::NEG_INFINITY)
        .map(|x| (x - largest).exp())
        .sum::<f64>();
    largest + sum.ln()
}

/// The keys of the slice that a query sees. Every key is asked: slower than an interval, and obviously right.
fn visible_keys<'a>(
    problem: &'a Problem,
    tensors: &'a Tensors,
    b: u32,
    h: u32,
    i: u32,
) -> impl Iterator<Item = u32> + 'a {
    let Slice { k, .. } = problem.slice();
    k.filter(move |&j| visible(problem, tensors, b, h, i, j))
}

/// Every `(b, h, i)` of the problem's slice.
fn rows_of(problem: &Problem) -> impl Iterator<Item = (u32, u32, u32)> + use<> {
    let shape = problem.shape;
    let Slice { q, .. } = problem.slice();
    (0..shape.batch).flat_map(move |b| {
        let q = q.clone();
        (0..shape.q_heads).flat_map(move |h| q.clone().map(move |i| (b, h, i)))
    })
}

/// The index of row `(b, h, i)` in lse `[B, Hq, Nq]`.
fn row_index(problem: &Problem, b: u32, h: u32, i: u32) -> usize {
    let shape = &problem.shape;
    (b as usize * shape.q_heads as usize + h as usize) * shape.q_len as usize + i as usize
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `sum += factor·term`
fn add_scaled(sum: &mut [f64], factor: f64, term: &[f64]) {
    for (total, x) in sum.iter_mut().zip(term) {
        *total += factor * x;
    }
}

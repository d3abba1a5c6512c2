//! The largest scores, by definition.

use crate::problem::Problem;

use super::{Tensors, position, row_index, rows_of, score, selected, visible_keys};

/// The largest score that each row of the slice sees, `[B, Hq, Nq]`: −∞ of a fully masked row, NaN where one is NaN or ∞.
/// Rows outside of the slice are NaN.
pub fn max_scores(problem: &Problem, tensors: &Tensors) -> Vec<f64> {
    let mut largest = vec![f64::NAN; problem.shape.rows() as usize];
    let problem = &selected(problem, tensors);
    let rotated = position::Rotated::new(problem, tensors);
    let tensors = &rotated.view(tensors);
    for (b, h, i) in rows_of(problem) {
        let keys = visible_keys(problem, tensors, b, h, i);
        let scores = keys.map(|j| score::score(problem, tensors, b, h, i, j).value);
        largest[row_index(problem, b, h, i)] = scores.fold(f64::NEG_INFINITY, larger);
    }
    largest
}

/// The largest of `rows`, those of [`max_scores`], per head `[Hq]`.
pub fn max_scores_per_head(problem: &Problem, rows: &[f64]) -> Vec<f64> {
    let mut largest = vec![f64::NEG_INFINITY; problem.shape.q_heads as usize];
    for (b, h, i) in rows_of(problem) {
        let of_head = &mut largest[h as usize];
        *of_head = larger(*of_head, rows[row_index(problem, b, h, i)]);
    }
    largest
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() || b == f64::INFINITY {
        return f64::NAN;
    }
    a.max(b)
}

//! Positions stated token by token where a table of all in between would be too long.

use std::borrow::Cow;

use crate::problem::{Positions, Problem};

/// Positions that a rotary table holds for tokens that stand at their indices, without asking whether all are used:
/// telling each token its row takes another kernel.
const MOST_BETWEEN: i64 = 1 << 18;

/// The problem with indices stated as positions, where tokens stand so far apart that a table of all between them
/// would be long (a few queries far behind the keys).
pub(in crate::plan) fn explicit(problem: &Problem) -> Cow<'_, Problem> {
    let (shape, position) = (&problem.shape, &problem.position);
    if position.rotary.is_none() || position.range.is_some() || position.rows_given {
        return Cow::Borrowed(problem);
    }
    let Some(range) = position.known_range(shape, &problem.mask) else {
        return Cow::Borrowed(problem);
    };
    let tokens = i64::from(shape.batch) * (i64::from(shape.q_len) + i64::from(shape.kv_len));
    let span = i64::from(*range.end()) - i64::from(*range.start()) + 1;
    if span <= MOST_BETWEEN.max(tokens.saturating_mul(2)) {
        return Cow::Borrowed(problem);
    }
    let mut problem = problem.clone();
    let of_batches = |len: u32, start: &dyn Fn(u32) -> i64| {
        let row = |b| (0..len).map(move |n| (start(b) + i64::from(n)) as i32);
        Positions::Host((0..shape.batch).flat_map(row).collect())
    };
    if position.q_positions == Positions::Index {
        let start = |b| problem.mask.offset(shape, b).unwrap_or_default();
        problem.position.q_positions = of_batches(shape.q_len, &start);
    }
    if position.k_positions == Positions::Index {
        problem.position.k_positions = of_batches(shape.kv_len, &|_| 0);
    }
    Cow::Owned(problem)
}

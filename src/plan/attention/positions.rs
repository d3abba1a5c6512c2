//! Positions made explicit, token by token, where a table of all in between would be too long.

use std::borrow::Cow;

use crate::problem::{Positions, Problem, Tokens};

/// Positions that a rotary table holds for tokens that stand at their indices, without asking whether all are used:
/// telling each token its row takes another kernel.
const MOST_BETWEEN: i64 = 1 << 18;

/// The problem with what its sequences say of masks, and with indices made explicit positions, where tokens stand so far apart
/// that a table of all between them would be long (a few queries far behind the keys).
pub(in crate::plan) fn explicit(problem: &Problem) -> Cow<'_, Problem> {
    let problem = problem.resolved();
    let (shape, position) = (&problem.shape, &problem.position);
    let on_device = problem.queries().on_device() || problem.keys().on_device();
    let is_explicit = position.range.is_some() || position.rows_given;
    if position.rotary.is_none() || is_explicit || on_device {
        return problem;
    }
    let Some(range) = position.known_range(shape, &problem.mask) else {
        return problem;
    };
    let tokens = (problem.queries().count() + problem.keys().count()) as i64;
    let span = i64::from(*range.end()) - i64::from(*range.start()) + 1;
    if span <= MOST_BETWEEN.max(tokens.saturating_mul(2)) {
        return problem;
    }
    let of_batches = |side: Tokens<'_>, start: &dyn Fn(u32) -> i64| {
        let row = |b| (0..side.of(b)).map(move |n| (start(b) + i64::from(n)) as i32);
        Positions::Host((0..side.batch).flat_map(row).collect())
    };
    let mut explicit_positions = problem.clone().into_owned();
    if position.q_positions == Positions::Index {
        let start = |b| problem.mask.offset(shape, b).unwrap_or_default();
        explicit_positions.position.q_positions = of_batches(problem.queries(), &start);
    }
    if position.k_positions == Positions::Index {
        explicit_positions.position.k_positions = of_batches(problem.keys(), &|_| 0);
    }
    Cow::Owned(explicit_positions)
}

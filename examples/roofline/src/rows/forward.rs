//! The forward pass: sizes, masks, elements and strategies, beside the naive kernels.

use wgpu_attention::problem::{Element, Mask, Problem, Shape};

use super::{mods, sparse};
use crate::case::{Group, Row};
use crate::{forward, naive};

const HEADS: u32 = 8;

/// One group a size and head size.
pub fn groups() -> Vec<Group> {
    let chosen = problem(8192, 64, Mask::default(), Element::F32);
    vec![
        short(64),
        short(128),
        medium(64),
        medium(128),
        long(),
        sparse::selection(chosen),
    ]
}

/// N = 1024: every element and both strategies.
fn short(dim: u32) -> Group {
    let problem = |mask, element| problem(1024, dim, mask, element);
    let (full, causal) = (Mask::default(), Mask::causal());
    let plain = row("subgroup", problem(full.clone(), Element::F32));
    let rows = [
        naive_row(problem(full.clone(), Element::F32)),
        naive_row(problem(causal.clone(), Element::F32)),
        row("subgroup", problem(causal, Element::F32)).over("full", &plain),
        row("subgroup", problem(full.clone(), Element::F16)).over("f32", &plain),
        row("subgroup", problem(full.clone(), Element::BF16)).over("f32", &plain),
        row("workgroup", problem(full, Element::F32)).over("subgroup", &plain),
    ];
    Group(std::iter::once(plain).chain(rows).collect())
}

/// N = 4096: what causal and lists of blocks save and what a user's function costs; these at D = 64 alone. The naive
/// kernels would take minutes here.
fn medium(dim: u32) -> Group {
    let row = |mask| row("subgroup", problem(4096, dim, mask, Element::F32));
    let full = row(Mask::default());
    let mut rows = vec![row(Mask::causal()).over("full", &full)];
    if dim == 64 {
        rows.extend(sparse::rows("block-sparse", &[1, 2, 4, 8, 16], &full));
        rows.push(mods::row(&full));
    }
    rows.insert(0, full);
    Group(rows)
}

/// N = 8192 and 16384: what a window saves, and that its time grows with N alone.
fn long() -> Group {
    let window = || Mask::window(256, 0);
    let row = |len, mask| row("subgroup", problem(len, 64, mask, Element::F32));
    let full = row(8192, Mask::default());
    let half = row(8192, window()).over("full", &full);
    let whole = row(16384, window()).over("N = 8192", &half);
    Group(vec![full, half, whole])
}

fn problem(len: u32, dim: u32, mask: Mask, element: Element) -> Problem {
    Problem::new(Shape::square(1, HEADS, len, dim), element).with_mask(mask)
}

fn row(strategy: &'static str, problem: Problem) -> Row {
    Row {
        kernel: "forward",
        strategy,
        problem,
        params: String::new(),
        case: forward::case,
        baseline: None,
    }
}

fn naive_row(problem: Problem) -> Row {
    Row {
        kernel: "naive",
        strategy: "workgroup",
        problem,
        params: String::new(),
        case: naive::case,
        baseline: None,
    }
}

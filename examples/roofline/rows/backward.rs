//! The backward pass: whole and by kernel, what masks save, and its scratch at a length whose matrix takes 8 GiB.

use wgpu_attention::problem::{Element, Mask, Problem, Shape};

use crate::case::{Group, Row};
use crate::{backward, backward_naive};

const HEADS: u32 = 8;
/// For rows that are compared with each other and would take minutes with all heads on a software adapter.
const FEW_HEADS: u32 = 2;

pub fn groups() -> Vec<Group> {
    vec![naive(), kernels(), causal(), window(), long()]
}

/// One head: in memory a pass takes as long as the fused one over all heads.
fn naive() -> Group {
    let one = || problem(1024, 1, Mask::default());
    let mut in_memory = row("backward_naive", "workgroup", one());
    in_memory.case = backward_naive::case;
    Group(vec![in_memory, row("backward", "subgroup", one())])
}

fn kernels() -> Group {
    let full = || problem(1024, HEADS, Mask::default());
    Group(vec![
        row("backward", "subgroup", full()),
        row("grad_q", "subgroup", full()),
        row("grad_kv", "subgroup", full()),
        row("backward", "workgroup", full()),
    ])
}

fn causal() -> Group {
    let masks = [Mask::default(), Mask::causal()];
    let rows = masks.map(|mask| row("backward", "subgroup", problem(4096, FEW_HEADS, mask)));
    Group(rows.into())
}

fn window() -> Group {
    let masks = [Mask::default(), Mask::window(256, 0)];
    let rows = masks.map(|mask| row("backward", "subgroup", problem(8192, FEW_HEADS, mask)));
    Group(rows.into())
}

fn long() -> Group {
    let problem = problem(16_384, HEADS, Mask::window(256, 0));
    Group(vec![row("backward", "subgroup", problem)])
}

fn problem(len: u32, heads: u32, mask: Mask) -> Problem {
    Problem {
        mask,
        ..Problem::new(Shape::square(1, heads, len, 64), Element::F32)
    }
}

fn row(kernel: &'static str, strategy: &'static str, problem: Problem) -> Row {
    Row {
        kernel,
        strategy,
        problem,
        params: String::new(),
        case: backward::case,
    }
}

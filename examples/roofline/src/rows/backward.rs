//! The backward pass: whole and by kernel, what masks save, and its scratch at a length whose matrix takes 8 GiB.

use wgpu_attention::problem::{Element, Mask, Problem, Shape};

use super::sparse;
use crate::case::{Group, Row};
use crate::{backward, backward_naive};

const HEADS: u32 = 8;
/// For rows of N = 8192, whose times are compared: without a mask eight heads take half a minute on lavapipe.
const ONE_HEAD: u32 = 1;

pub fn groups() -> Vec<Group> {
    vec![naive(), kernels(), medium(), window(), long()]
}

/// One head: in memory a pass takes as long as the fused one over all heads.
fn naive() -> Group {
    let one = || problem(1024, ONE_HEAD, Mask::default());
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

/// N = 4096: what causal and lists of blocks save.
fn medium() -> Group {
    let row = |mask| row("backward", "subgroup", problem(4096, HEADS, mask));
    let full = row(Mask::default());
    let mut rows = vec![row(Mask::causal()).over("full", &full)];
    rows.extend(sparse::rows("block-sparse-backward", &[1, 8], &full));
    rows.insert(0, full);
    Group(rows)
}

fn window() -> Group {
    let row = |mask| row("backward", "subgroup", problem(8192, ONE_HEAD, mask));
    let full = row(Mask::default());
    let window = row(Mask::window(256, 0)).over("full", &full);
    Group(vec![full, window])
}

fn long() -> Group {
    let problem = problem(16_384, HEADS, Mask::window(256, 0));
    Group(vec![row("backward", "subgroup", problem)])
}

fn problem(len: u32, heads: u32, mask: Mask) -> Problem {
    Problem::new(Shape::square(1, heads, len, 64), Element::F32).with_mask(mask)
}

fn row(kernel: &'static str, strategy: &'static str, problem: Problem) -> Row {
    Row {
        kernel,
        strategy,
        problem,
        params: String::new(),
        case: backward::case,
        baseline: None,
    }
}

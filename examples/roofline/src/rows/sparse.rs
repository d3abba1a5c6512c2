//! Block masks: what is not listed is not paid, forward and backward. Blocks chosen from the input: what the choice
//! takes beside the attention that it feeds.

use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Mask, Problem, Select, Shape};

use crate::case::{Case, Group, Row};
use crate::gpu::Gpu;
use crate::select;

const SIDE: u32 = 64;

/// Rows of density 1/n beside one without a mask, which they are compared with.
pub fn rows(kernel: &'static str, parts: &[u32], dense: &Row) -> Vec<Row> {
    let row = |&n| Row {
        kernel,
        strategy: dense.strategy,
        problem: dense
            .problem
            .clone()
            .with_mask(one_in(n, &dense.problem.shape)),
        params: density(n),
        case: dense.case,
        baseline: None,
    };
    let rows = parts.iter().map(row);
    rows.map(|row| row.over("dense", dense)).collect()
}

/// An eighth of the blocks, by their means.
pub fn selection(mut problem: Problem) -> Group {
    let blocks = problem.shape.kv_len.div_ceil(SIDE);
    problem.mask.blocks = Some(Blocks::Select(
        (Select::new(SIDE, blocks / 8)).with_written(true),
    ));
    let row = |kernel, case: fn(&Gpu, &Row) -> anyhow::Result<Box<dyn Case>>| Row {
        kernel,
        strategy: "subgroup",
        problem: problem.clone(),
        params: density(8),
        case,
        baseline: None,
    };
    let attention = row("selected", select::attention);
    let choice = row("select", select::choice).over("attention", &attention);
    Group(vec![attention, choice])
}

fn density(n: u32) -> String {
    match n {
        1 => "density 1".into(),
        n => format!("density 1/{n}"),
    }
}

/// Every n-th block of keys, another first one per block of queries, so that keys too are seen equally often.
fn one_in(n: u32, shape: &Shape) -> Mask {
    let grid = BlockGrid::new(SIDE, shape.q_len, shape.kv_len);
    let (rows, columns) = (grid.q_blocks(), grid.kv_blocks());
    let list = |i: u32| (i % n..columns).step_by(n as usize).collect();
    let lists: Vec<Vec<u32>> = (0..rows).map(list).collect();
    let blocks = BlockMask::from_lists(grid, &lists).expect("rising lists inside of the grid");
    Mask::default().with_blocks(Some(blocks.into()))
}

//! Block masks: what is not listed is not paid, forward and backward; the first row of a group is without a mask.

use anyhow::Result;
use wgpu_attention::problem::{BlockGrid, BlockMask, Element, Mask, Problem, Shape};

use crate::case::{Case, Group, Row};
use crate::gpu::Gpu;
use crate::{backward, forward};

const HEADS: u32 = 8;
const LEN: u32 = 4096;
const DIM: u32 = 64;
const SIDE: u32 = 64;

pub fn groups() -> Vec<Group> {
    vec![
        group("block-sparse", forward::case, &[1, 2, 4, 8, 16]),
        group("block-sparse-backward", backward::case, &[1, 8]),
    ]
}

/// Rows of density 1/n.
fn group(
    kernel: &'static str,
    case: fn(&Gpu, &Row) -> Result<Box<dyn Case>>,
    parts: &[u32],
) -> Group {
    let row = |mask, params| Row {
        kernel,
        strategy: "subgroup",
        problem: Problem {
            mask,
            ..Problem::new(Shape::square(1, HEADS, LEN, DIM), Element::F32)
        },
        params,
        case,
    };
    let sparse = parts.iter().map(|&n| row(one_in(n), density(n)));
    let dense = row(Mask::default(), "dense".into());
    Group(std::iter::once(dense).chain(sparse).collect())
}

fn density(n: u32) -> String {
    match n {
        1 => "density 1".into(),
        n => format!("density 1/{n}"),
    }
}

/// Every n-th block of keys, another first one a block of queries, so that keys too are seen equally often.
fn one_in(n: u32) -> Mask {
    let grid = BlockGrid::new(SIDE, LEN, LEN);
    let (rows, columns) = (grid.q_blocks(), grid.kv_blocks());
    let list = |i: u32| (i % n..columns).step_by(n as usize).collect();
    let lists: Vec<Vec<u32>> = (0..rows).map(list).collect();
    let blocks = BlockMask::from_lists(grid, &lists).expect("rising lists inside of the grid");
    Mask {
        blocks: Some(blocks.into()),
        ..Mask::default()
    }
}

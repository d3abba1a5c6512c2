//! What is refused: the actual value, what is allowed, and the way out.

use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Mask, Pattern, Segments};
use wgpu_attention::{Element, Problem, Shape};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: wgpu_attention::Result<T>, words: &[&str]) {
    let message = result.expect_err("bad input").to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

fn grid(side: u32) -> BlockGrid {
    BlockGrid::new(side, 100, 70)
}

#[test]
fn block_sides() {
    for side in [0, 8, 24, 100, 144] {
        let words = [&*side.to_string(), "multiple of 16 from 16 to 128"];
        refused(BlockMask::from_fn(grid(side), |_, _, _, _| true), &words);
        refused(BlockMask::from_blocks(grid(side), &[]), &words);
    }
}

#[test]
fn lists() {
    let lists = |last: Vec<u32>| {
        let lists = vec![vec![0], vec![], vec![1, 0], last];
        BlockMask::from_lists(grid(32), &lists)
    };
    assert_eq!(lists(vec![2, 0]).expect("legal").list(0, 0, 3).len(), 2);
    refused(lists(vec![3]), &["list 3", "block 3", "0 to 2"]);
    refused(lists(vec![1, 2, 1]), &["list 3", "block 1", "twice"]);
    refused(
        BlockMask::from_lists(grid(32), &[vec![0]]),
        &["1 values", "needs 4"],
    );
}

#[test]
fn sizes() {
    refused(BlockMask::from_dense(grid(16), &[true; 9]), &["9", "7000"]);
    refused(BlockMask::from_blocks(grid(32), &[1; 11]), &["11", "12"]);
    let heads = grid(16).with_heads(3);
    let two = [Pattern::causal(), Pattern::full()];
    refused(BlockMask::from_patterns(heads, &two), &["2", "3"]);
    refused(
        BlockMask::from_pattern(grid(16), &Pattern::strided(0)),
        &["stride", "0"],
    );
    refused(
        BlockMask::from_pattern(grid(16), &Pattern::fixed(8, 9)),
        &["summary", "9", "8"],
    );
    let mask = |side| BlockMask::from_fn(grid(side), |_, _, _, _| true).expect("legal");
    refused(mask(16).and(&mask(32)), &["side", "32", "16"]);
}

fn problem(mask: Mask) -> Problem {
    let mut problem = Problem::new(Shape::square(2, 4, 100, 8), Element::F32);
    problem.mask = mask;
    problem
}

#[test]
fn masks_of_another_problem() {
    let with = |grid| {
        let mask = BlockMask::from_fn(grid, |_, _, _, _| true).expect("legal");
        let blocks = Some(Blocks::from(mask));
        problem(Mask::default().with_blocks(blocks)).validate()
    };
    refused(with(grid(16)), &["kv_len", "70", "100"]);
    let square = BlockGrid::new(16, 100, 100);
    with(square).expect("broadcast");
    refused(with(square.with_heads(2)), &["heads", "2", "4"]);
    refused(with(square.with_batch(3)), &["batch", "3", "2"]);
}

#[test]
fn segments_of_other_sizes() {
    let with = |q: usize, k: usize| {
        let segments = Some(Segments::Host {
            q: vec![0; q],
            k: vec![0; k],
        });
        problem(Mask::default().with_segments(segments)).validate()
    };
    with(200, 200).expect("one per token");
    refused(with(100, 200), &["segments_q", "100", "200"]);
    refused(with(200, 201), &["segments_k", "201", "200"]);
}

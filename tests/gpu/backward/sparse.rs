//! Gradients over block lists and documents, against the definition.

use wgpu_attention::problem::{
    BlockGrid, BlockMask, Layout, Mask, Pattern, Segments, Values, alibi_slopes,
};

use super::run::{Given, run_and_check};
use crate::device::gpu;
use crate::run::strategies;
use crate::sparse::{case, of_pattern, patterns};
use crate::support::cases::{Case, Sizes};
use crate::support::inputs::{Data, Inputs};

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 75,
    kv_len: 90,
};

fn check(case: &Case, seed: u64) {
    let inputs = Inputs::new(case, Data::Normal(1.0), seed);
    let given = Given {
        score: true,
        ..Given::new(case, seed)
    };
    for choice in strategies(gpu()) {
        run_and_check(gpu(), case, &inputs, &given, &choice);
    }
}

#[test]
fn gradients_over_every_pattern() {
    for (n, pattern) in patterns().iter().enumerate() {
        for side in [16, 48] {
            let mask = Mask::default()
                .with_blocks(of_pattern(
                    BlockGrid::new(side, SIZES.q_len, SIZES.kv_len),
                    pattern,
                ))
                .with_causal(n % 2 == 0);
            let case = case(format!("{} by {side}", pattern.name()), SIZES, mask);
            check(&case, n as u64);
        }
    }
}

/// Lists that differ by batch and head, under a window with first keys, with a bias and slopes to differentiate.
#[test]
fn gradients_over_lists_of_each_head() {
    let grid = BlockGrid::new(32, SIZES.q_len, SIZES.kv_len)
        .with_batch(SIZES.batch)
        .with_heads(SIZES.q_heads);
    let sees =
        |b: u32, h: u32, i: u32, j: u32| !(i / 9 + j / 7 + b + h).is_multiple_of(3) && i % 31 != 5;
    let blocks = BlockMask::from_fn(grid, sees).expect("a legal grid");
    let mask = Mask::window(40, 11)
        .with_blocks(Some(blocks.into()))
        .with_first(5);
    let case = case("lists of each head", SIZES, mask).with(|p| {
        p.score.bias = Some(Layout::heads_first(
            SIZES.q_heads,
            SIZES.q_len,
            SIZES.kv_len,
        ));
        p.score.slopes = Some(Values::Host(alibi_slopes(SIZES.q_heads)));
    });
    check(&case, 3);
}

#[test]
fn gradients_of_documents() {
    let tokens = |len: u32| (SIZES.batch * len) as i32;
    let rising = |len: u32, n: i32| (0..tokens(len)).map(|t| t % len as i32 / n).collect();
    let mixed = |len: u32| (0..tokens(len)).map(|t| t * 7 % 5).collect();
    let segments = [
        Segments::Host {
            q: rising(SIZES.q_len, 20),
            k: rising(SIZES.kv_len, 24),
        },
        Segments::Host {
            q: mixed(SIZES.q_len),
            k: mixed(SIZES.kv_len),
        },
    ];
    for (n, segments) in segments.into_iter().enumerate() {
        let mask = Mask::default().with_segments(segments).with_causal(true);
        check(&case(format!("documents {n}"), SIZES, mask), n as u64);
    }
    let empty = BlockMask::from_pattern(
        BlockGrid::new(16, SIZES.q_len, SIZES.kv_len),
        &Pattern::vertical_slash([], []),
    );
    let mask = Mask::default().with_blocks(empty.ok().map(Into::into));
    check(&case("empty lists", SIZES, mask), 9);
}

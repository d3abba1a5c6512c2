//! Key tiles visited, counted on the GPU, are those that the plan counts, and those that hold a visible pair.

use std::collections::BTreeSet;

use wgpu_attention::Element;
use wgpu_attention::internal::Variant;
use wgpu_attention::reference::visible;
use wgpu_attention::{Plan, Tiling};

use crate::device::gpu;
use crate::run::{run, strategies};
use crate::support::cases::{self, Case, Setting};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::decode;

pub fn tiling(plan: &Plan) -> Option<Tiling> {
    plan.steps().iter().find_map(|step| match step.variant() {
        Variant::Prefill(key) => Some(key.tiling),
        _ => None,
    })
}

/// The sum over all tiles of rows of what the kernel wrote in place of lse.
pub fn counted(case: &Case, lse: &[u8], tiling: &Tiling) -> u64 {
    let (shape, slice) = (&case.problem.shape, case.problem.slice());
    let is_first = |i: u32| i == slice.q.start || i.is_multiple_of(tiling.tile_rows());
    let rows = decode(Element::F32, lse);
    (0..shape.batch * shape.q_heads)
        .flat_map(|head| {
            slice
                .q
                .clone()
                .filter(|&i| is_first(i))
                .map(move |i| head * shape.q_len + i)
        })
        .map(|row| rows[row as usize] as u64)
        .sum()
}

/// Tiles with a visible pair, by asking about every pair.
pub fn needed(case: &Case, tiling: &Tiling) -> u64 {
    let (problem, slice) = (&case.problem, case.problem.slice());
    let tensors = case.tensors(&[], &[], &[]);
    let mut tiles = BTreeSet::new();
    let heads = problem.shape.q_heads;
    for (b, h) in (0..problem.shape.batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
        for (i, j) in slice
            .q
            .clone()
            .flat_map(|i| slice.k.clone().map(move |j| (i, j)))
        {
            if visible(problem, &tensors, b, h, i, j) {
                tiles.insert((b, h, i / tiling.tile_rows(), j / tiling.tile));
            }
        }
    }
    tiles.len() as u64
}

#[test]
fn visited_tiles_are_the_plans_and_no_more_than_needed() {
    let (gpu, setting) = (gpu(), Setting::new(8, 8, Element::F32));
    for strategy in strategies(gpu) {
        let choice = strategy.with_count_tiles(true).with_splits(1);
        for (n, case) in cases::all(&setting).iter().enumerate() {
            let (plan, output) = run(
                gpu,
                &gpu.attention,
                case,
                &Inputs::new(case, Data::Normal(1.0), n as u64),
                &choice,
            );
            let Some(tiling) = tiling(&plan) else {
                continue;
            };
            let counted = counted(case, &output.lse, &tiling);
            assert_eq!(
                counted,
                needed(case, &tiling),
                "visited and needed tiles of {}\n{plan}",
                case.name
            );
            // What lies on the device, the plan does not know.
            if case.host_knows_intervals() {
                assert_eq!(counted, plan.cost().visited, "{}\n{plan}", case.name);
            }
        }
    }
}

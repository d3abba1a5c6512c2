//! Packed documents: ids that rise are intervals, others are compared.

use wgpu_attention::internal::Variant;
use wgpu_attention::problem::{BlockGrid, Mask, Pattern, Segments};

use super::{case, of_pattern};
use crate::device::gpu;
use crate::run::{run, run_and_check, strategies};
use crate::support::cases::{Case, DeviceValues, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::tiles::{counted, needed, tiling};

fn with_segments(segments: Segments, mask: Mask) -> Mask {
    mask.with_segments(segments)
}

/// Rising ids of uneven documents; some of the keys have no query and the other way round.
fn rising(sizes: Sizes) -> Segments {
    let ids = |len: u32, steps: [u32; 2]| {
        (0..sizes.batch)
            .flat_map(|b| (0..len).map(move |n| (n / steps[(b % 2) as usize]) as i32 - 2))
            .collect()
    };
    Segments::Host {
        q: ids(sizes.q_len, [13, 30]),
        k: ids(sizes.kv_len, [17, 11]),
    }
}

fn masks() -> Vec<Mask> {
    vec![
        Mask::default(),
        Mask::causal(),
        Mask::window(9, 4).with_first(20),
        Mask::causal().with_prefix(25),
    ]
}

fn compares(plan: &wgpu_attention::Plan) -> bool {
    let compares = |v: &Variant| matches!(v, Variant::Prefill(key) if key.mask.segments);
    plan.steps().iter().any(|step| compares(&step.variant()))
}

#[test]
fn ids_that_rise() {
    let gpu = gpu();
    for sizes in [Sizes::two(2, 1, 70, 90), Sizes::two(2, 2, 80, 80)] {
        for mask in masks() {
            let case = case(
                format!("{mask:?}"),
                sizes,
                with_segments(rising(sizes), mask),
            );
            let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
            for choice in strategies(gpu) {
                let plan = run_and_check(gpu, &case, &inputs, &choice);
                assert!(!compares(&plan), "{plan}");
            }
        }
    }
}

#[test]
fn ids_that_do_not_rise_and_ids_on_the_device() {
    let gpu = gpu();
    let sizes = Sizes::two(2, 1, 70, 90);
    let ids = |len: u32| -> Vec<i32> { (0..2 * len).map(|n| (n * 7 % 5) as i32 - 1).collect() };
    let (q, k) = (ids(70), ids(90));
    for mask in masks() {
        let host = with_segments(
            Segments::Host {
                q: q.clone(),
                k: k.clone(),
            },
            mask.clone(),
        );
        let values = DeviceValues {
            segments_q: Some(q.clone()),
            segments_k: Some(k.clone()),
            ..DeviceValues::default()
        };
        let device = Case {
            values,
            ..case(
                "on the device",
                sizes,
                with_segments(Segments::Device, mask),
            )
        };
        for case in [case("unsorted", sizes, host), device] {
            let inputs = Inputs::new(&case, Data::Normal(1.0), 2);
            for choice in strategies(gpu) {
                let plan = run_and_check(gpu, &case, &inputs, &choice);
                assert!(compares(&plan), "{plan}");
            }
        }
    }
}

#[test]
fn beside_block_lists() {
    let gpu = gpu();
    let sizes = Sizes::two(2, 1, 70, 90);
    let unsorted = Segments::Host {
        q: (0..140).map(|n| n * 7 % 3).collect(),
        k: (0..180).map(|n| n * 5 % 3).collect(),
    };
    for segments in [rising(sizes), unsorted] {
        let blocks = of_pattern(BlockGrid::new(16, 70, 90), &Pattern::strided(9));
        let mask = with_segments(segments, Mask::default()).with_blocks(blocks);
        let case = case("documents and blocks", sizes, mask);
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        for choice in strategies(gpu) {
            run_and_check(gpu, &case, &inputs, &choice);
        }
    }
}

/// Documents of a tile each, and of uneven lengths: what is visited is what has a visible pair.
#[test]
fn many_short_documents_visit_their_own_tiles_only() {
    let gpu = gpu();
    let even = vec![32; 12];
    let uneven = vec![5, 70, 1, 33, 64, 90, 2, 3, 40, 76];
    for lengths in [even, uneven] {
        let sizes = Sizes::one(384, 384);
        for mask in [Mask::default(), Mask::causal()] {
            let segments = Segments::documents(&lengths);
            let case = case(format!("{lengths:?}"), sizes, with_segments(segments, mask));
            for strategy in strategies(gpu) {
                let choice = strategy.with_count_tiles(true).with_splits(1);
                let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
                let (plan, output) = run(gpu, &gpu.attention, &case, &inputs, &choice);
                let tiling = tiling(&plan).expect("a forward step");
                let counted = counted(&case, &output.lse, &tiling);
                assert_eq!(counted, plan.cost().visited, "{plan}");
                assert_eq!(counted, needed(&case, &tiling), "{plan}");
                // A tile's rows are of as many documents as it touches, and each has 1/12 of the keys.
                if lengths[0] == 32 {
                    let rows = u64::from(tiling.tile_rows().max(32));
                    assert!(384 * counted <= 2 * rows * plan.cost().of, "{plan}");
                }
            }
        }
    }
}

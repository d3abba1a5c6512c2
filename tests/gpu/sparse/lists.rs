//! Block lists: patterns, heads of their own, other masks beside them, splits and slices, empty lists, tiles visited.

use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Lengths, Mask, Pattern, Slice};
use wgpu_attention::{Element, PlanOptions};

use super::{case, of_pattern, patterns};
use crate::device::gpu;
use crate::run::{run, run_and_check, strategies};
use crate::support::cases::{Case, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::tiles::{counted, needed, tiling};

fn with_blocks(blocks: Blocks, mask: Mask) -> Mask {
    mask.with_blocks(blocks)
}

#[test]
fn every_pattern_by_both_strategies() {
    let gpu = gpu();
    for (n, pattern) in patterns().iter().enumerate() {
        for (side, sizes) in [(16, Sizes::two(2, 1, 70, 70)), (48, Sizes::one(60, 131))] {
            let grid = BlockGrid::new(side, sizes.q_len, sizes.kv_len);
            let mask = with_blocks(of_pattern(grid, pattern), Mask::default());
            let case = case(format!("{pattern} in blocks of {side}"), sizes, mask);
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            for choice in strategies(gpu) {
                run_and_check(gpu, &case, &inputs, &choice);
            }
        }
    }
}

/// A list per batch and head, some of them empty, bits in every other block.
fn mixed(side: u32, sizes: Sizes) -> Blocks {
    let grid = BlockGrid::new(side, sizes.q_len, sizes.kv_len)
        .with_batch(sizes.batch)
        .with_heads(sizes.q_heads);
    let visible = |b: u32, h: u32, i: u32, j: u32| match (b + h + i / side + 2 * (j / side)) % 3 {
        0 => true,
        1 => false,
        _ => (i + 2 * j) % 5 < 3,
    };
    Blocks::from(BlockMask::from_fn(grid, visible).expect("a legal grid"))
}

fn masks() -> Vec<Mask> {
    vec![
        Mask::default(),
        Mask::causal(),
        Mask::window(30, 4).with_first(5),
        Mask::causal()
            .with_kv_lens(Lengths::Host(vec![53, 97]))
            .with_prefix(20),
    ]
}

/// The sides that need smaller tiles than the table's, and the largest.
fn beside_other_masks() -> Vec<Case> {
    let sizes = Sizes::two(4, 2, 90, 110);
    let sides = [16, 32, 112, 128];
    let cases = sides.into_iter().flat_map(|side| {
        masks().into_iter().map(move |mask| {
            let name = format!("{mask:?} in blocks of {side}");
            case(name, sizes, with_blocks(mixed(side, sizes), mask))
        })
    });
    cases.collect()
}

#[test]
fn lists_of_heads_beside_other_masks() {
    let gpu = gpu();
    for case in beside_other_masks() {
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        for choice in strategies(gpu) {
            run_and_check(gpu, &case, &inputs, &choice);
        }
    }
}

#[test]
fn splits_rows_and_slices() {
    let gpu = gpu();
    let sizes = Sizes::two(2, 1, 90, 110);
    for mask in masks() {
        let whole = case(
            format!("{mask:?}"),
            sizes,
            with_blocks(mixed(32, sizes), mask),
        );
        let inputs = Inputs::new(&whole, Data::Normal(1.0), 4);
        for (splits, slice_rows) in [(Some(3), None), (None, Some(7)), (Some(2), Some(33))] {
            let choice = PlanOptions::default()
                .with_splits(splits)
                .with_slice_rows(slice_rows);
            run_and_check(gpu, &whole, &inputs, &choice);
        }
        let part = whole.with(|p| {
            p.slice = Some(Slice {
                q: 21..77,
                k: 9..81,
            })
        });
        run_and_check(gpu, &part, &inputs, &PlanOptions::default());
    }
}

/// Tiles that the kernel counts are the plan's, and none of them is without a visible pair.
#[test]
fn visited_tiles_are_those_of_the_lists() {
    let gpu = gpu();
    // Bits may hide all of a listed block's tile: lists alone tell what is needed.
    let whole = |case: Case| {
        case.with(|p| {
            let grid = *p.mask.host_blocks().expect("lists").grid();
            let visible = |b: u32, h: u32, i: u32, j: u32| {
                (b + h + i / grid.side + 2 * (j / grid.side)) % 3 != 1
            };
            let mask = BlockMask::from_fn(grid, visible).expect("a legal grid");
            p.mask.blocks = Some(Blocks::from(mask));
        })
    };
    for strategy in strategies(gpu) {
        let choice = strategy.with_count_tiles(true).with_splits(1);
        for case in beside_other_masks() {
            for (case, whole) in [(case.clone(), false), (whole(case), true)] {
                let inputs = Inputs::new(&case, Data::Normal(1.0), 5);
                let (plan, output) = run(gpu, &gpu.attention, &case, &inputs, &choice);
                let tiling = tiling(&plan).expect("a forward step");
                let counted = counted(&case, &output.lse, &tiling);
                assert_eq!(counted, plan.cost().visited, "{}\n{plan}", case.name);
                if whole {
                    assert_eq!(counted, needed(&case, &tiling), "{}\n{plan}", case.name);
                }
            }
        }
    }
}

#[test]
fn a_sixteenth_of_the_blocks_costs_a_sixteenth_of_the_tiles() {
    let gpu = gpu();
    let sizes = Sizes::one(512, 512);
    let lists: Vec<Vec<u32>> = (0..16).map(|i| vec![i * 5 % 16]).collect();
    let grid = BlockGrid::new(32, 512, 512);
    let mask = BlockMask::from_lists(grid, &lists).expect("a block per list");
    let case = case(
        "one block per list",
        sizes,
        with_blocks(mask.into(), Mask::default()),
    );
    let plan = gpu.attention.plan(&case.problem).expect("a plan");
    let cost = plan.cost();
    assert_eq!(cost.visited * 16, cost.of, "{plan}");
    assert!(plan.to_string().contains("density 6.25 %"), "{plan}");
}

/// Every block listed is the dense computation, tile by tile.
#[test]
fn all_blocks_are_the_dense_answer_to_the_bit() {
    let gpu = gpu();
    let sizes = Sizes::two(2, 1, 70, 100);
    for mask in masks() {
        let mask = mask.with_kv_lens(Lengths::All);
        let full = of_pattern(BlockGrid::new(64, 70, 100), &Pattern::full());
        let dense = case("dense", sizes, mask.clone());
        let listed = case("all blocks", sizes, with_blocks(full, mask));
        let inputs = Inputs::new(&dense, Data::Normal(1.0), 6);
        for choice in strategies(gpu) {
            let (_, dense) = run(gpu, &gpu.attention, &dense, &inputs, &choice);
            let (plan, listed) = run(gpu, &gpu.attention, &listed, &inputs, &choice);
            assert!(dense == listed, "{plan}");
        }
    }
}

#[test]
fn an_empty_list_is_a_dead_row() {
    let gpu = gpu();
    let sizes = Sizes::one(64, 64);
    let lists = [vec![], vec![1, 3], vec![], vec![0]];
    let mask = BlockMask::from_lists(BlockGrid::new(16, 64, 64), &lists).expect("four lists");
    let case = case(
        "empty lists",
        sizes,
        with_blocks(mask.into(), Mask::default()),
    );
    let inputs = Inputs::new(&case, Data::Normal(1.0), 7);
    for choice in strategies(gpu) {
        let (plan, output) = run(gpu, &gpu.attention, &case, &inputs, &choice);
        crate::run::check(&case, &inputs, &output, &plan.to_string());
        let got = output.forward(&case);
        for i in (0..16).chain(32..48) {
            assert_eq!(got.lse[i], f64::NEG_INFINITY, "{plan}");
            assert!(got.o[12 * i..][..12].iter().all(|&x| x == 0.0), "{plan}");
        }
    }
}

/// Elements of 16 bits and unaligned rows read lists like any.
#[test]
fn other_elements() {
    let gpu = gpu();
    let sizes = Sizes::two(2, 1, 70, 90);
    for element in [Element::F16, Element::BF16] {
        let setting = crate::support::cases::Setting::new(20, 12, element);
        let case = Case::new(element.to_string(), &setting, sizes)
            .with(|p| p.mask = with_blocks(mixed(32, sizes), Mask::causal()));
        let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
        for choice in strategies(gpu) {
            run_and_check(gpu, &case, &inputs, &choice);
        }
    }
}

#[test]
fn a_forced_tiling_that_does_not_divide_the_block_is_refused() {
    let gpu = gpu();
    let sizes = Sizes::one(200, 200);
    let full = of_pattern(BlockGrid::new(48, 200, 200), &Pattern::full());
    let case = case("48", sizes, with_blocks(full, Mask::default()));
    let tiling = wgpu_attention::Tiling {
        invocations: 32,
        lanes_per_row: 1,
        rows: 1,
        keys: 4,
        tile: 32,
    };
    let choice = PlanOptions::default()
        .with_strategy(wgpu_attention::plan::StrategyKind::Workgroup)
        .with_tiling(tiling);
    let error = gpu.attention.plan_with(&case.problem, &choice);
    let message = error.expect_err("32 does not divide 48").to_string();
    assert!(
        message.contains("does not divide blocks of 48"),
        "{message}"
    );
}

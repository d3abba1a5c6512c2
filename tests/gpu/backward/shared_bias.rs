//! The gradient of a bias that queries share, as a key-padding mask's: a number per key, summed over the queries.

use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, DeviceBlocks, Layout, Lengths, Mask, Offsets, Segments, Slice,
};
use wgpu_attention::{Backward, Element, Plan, PlanOptions, Role};

use super::run::{Given, run_and_check};
use crate::device::gpu;
use crate::run::strategies;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

const HEADS: u32 = 4;
const Q_LEN: u32 = 45;
const KV_LEN: u32 = 70;

/// `[B|1, Hq|1, 1, Nk]`
fn layouts() -> [Layout; 4] {
    let whole = Layout {
        row: 0,
        ..Layout::heads_first(HEADS, 1, KV_LEN)
    };
    let one_head = Layout {
        head: 0,
        ..Layout::heads_first(1, 1, KV_LEN)
    };
    [
        whole,
        Layout { row: 0, ..one_head },
        Layout { batch: 0, ..whole },
        Layout {
            batch: 0,
            row: 0,
            ..one_head
        },
    ]
}

fn case(name: &str, layout: Layout) -> Case {
    let sizes = Sizes::two(HEADS, 2, Q_LEN, KV_LEN);
    Case::new(name, &Setting::new(12, 8, Element::F32), sizes).with(|p| p.score.bias = Some(layout))
}

fn agree(case: &Case, choices: &[PlanOptions]) {
    let inputs = Inputs::new(case, Data::Normal(1.0), 5);
    let given = Given {
        score: true,
        ..Given::new(case, 5)
    };
    for choice in choices {
        run_and_check(gpu(), case, &inputs, &given, choice);
    }
}

#[test]
fn under_every_kind_of_mask() {
    let lens = Mask::causal()
        .with_kv_lens(Lengths::Host(vec![61, 0]))
        .with_q_offset(Offsets::Host(vec![3, 11]));
    let ids = |len: u32| (0..2 * len).map(|n| (n * 7 % 3) as i32).collect();
    let documents = Mask::default().with_segments(Segments::Host {
        q: ids(Q_LEN),
        k: ids(KV_LEN),
    });
    let masks = [Mask::default(), Mask::window(9, 4), lens, documents];
    for (layout, mask) in layouts().into_iter().zip(masks) {
        let case = case(&format!("{layout:?}, {mask:?}"), layout).with(|p| p.mask = mask);
        agree(&case, &strategies(gpu()));
    }
}

#[test]
fn of_16_bits() {
    for (layout, element) in layouts().into_iter().zip([Element::F16, Element::BF16]) {
        let case = case(&format!("{element}"), layout).with(|p| {
            p.mask = Mask::causal();
            p.score.bias_element = element;
        });
        agree(&case, &strategies(gpu()));
    }
}

/// Lists that the host knows, and the same on the device: transposed once for both passes over keys.
#[test]
fn under_lists_of_blocks() {
    let case = case("blocks", layouts()[1]);
    let grid = BlockGrid::of(16, &case.problem.shape);
    let mask = BlockMask::from_fn(grid, |b, h, i, j| {
        (b + h + i / 16 + j / 16) % 3 != 0 && (i + j) % 5 != 0
    })
    .expect("a sound mask");
    let lists = DeviceBlocks::new(grid, grid.kv_blocks());
    let mut device = case
        .clone()
        .with(|p| p.mask.blocks = Some(Blocks::Device(lists)));
    device.values.block_lists = Some(lists.encode(&mask).expect("the mask's grid"));
    let host = case.with(|p| p.mask.blocks = Some(mask.into()));
    for case in [host, device] {
        agree(&case, &strategies(gpu()));
    }
}

/// What a slice of the keys does not hold is not written; a slice of the queries writes its own sum.
#[test]
fn of_slices_and_in_steps() {
    for (q, k) in [(0..Q_LEN, 9..66), (7..40, 0..KV_LEN), (5..5, 3..50)] {
        let case = case("slice", layouts()[0]).with(|p| {
            p.mask = Mask::causal();
            p.slice = Some(Slice { q, k });
        });
        agree(&case, &strategies(gpu()));
    }
    let in_steps = strategies(gpu())
        .into_iter()
        .map(|choice| choice.with_splits(3));
    let case = case("in steps", layouts()[3]).with(|p| p.mask = Mask::causal());
    agree(&case, &in_steps.collect::<Vec<_>>());
}

/// The gradient is as large as the bias, and nothing beside it of the size Nq · Nk.
#[test]
fn a_number_for_each_key() {
    let sizes = Sizes::two(HEADS, 2, 4096, KV_LEN);
    let case = Case::new("long", &Setting::new(12, 8, Element::F32), sizes)
        .with(|p| p.score.bias = Some(layouts()[1]));
    let backward = Backward::new(case.problem, Element::F32).with_dbias(true);
    let caps = gpu().attention.caps();
    let plan = Plan::backward(&backward, caps, &PlanOptions::default()).expect("a plan");
    let need = plan.requirements().iter().find(|n| n.role == Role::DBias);
    assert_eq!(need.map(|n| n.bytes), Some(u64::from(2 * KV_LEN * 4)));
    let pairs = u64::from(4096 * KV_LEN * 4);
    assert!(plan.scratch().iter().all(|&bytes| bytes < pairs), "{plan}");
}

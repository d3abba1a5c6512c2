//! Blocks chosen from q and k: the device's choice is the reference's, and attention over it is attention over its lists.

use wgpu_attention::Role;
use wgpu_attention::plan::RotateWhere;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    Blocks, DenseMask, DeviceBlocks, Lengths, Mask, Mods, Offsets, Segments, Select, SelectBy,
    Slice,
};
use wgpu_attention::reference::{selected, selection};
use wgpu_attention::{Element, Plan, PlanOptions};

use super::case;
use crate::backward::run::{Given, outside_the_slice, run_as};
use crate::device::gpu;
use crate::run::{Buffers, Output, check, execute, read, run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::assert_gradients;
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::encode;

/// The lists that the call wrote beside its output.
fn chosen(case: &Case, inputs: &Inputs, choice: &PlanOptions) -> (Plan, Output, Vec<Vec<u32>>) {
    let gpu = gpu();
    let plan = gpu.attention.plan_with(&case.problem, choice);
    let plan = plan.unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let lists = lists(case);
    let mut buffers = Buffers::new(&gpu.device, case, inputs);
    let bytes = vec![0xab; lists.words() as usize * 4];
    buffers.add(&gpu.device, Role::BlockLists, &bytes);
    let output = execute(gpu, &gpu.attention, &plan, &buffers);
    let [bytes] = read(gpu, [buffers.get(Role::BlockLists)]);
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
    let list = |n| lists.list(&words, n).into_iter().map(|(block, _)| block);
    let all = (0..lists.grid.lists()).map(|n| list(n).collect());
    (plan, output, all.collect())
}

fn lists(case: &Case) -> DeviceBlocks {
    let p = &case.problem;
    p.mask.device_blocks(&p.shape).expect("lists on the device")
}

fn selecting(case: Case, select: Select) -> Case {
    case.with(|p| {
        p.mask.blocks = Some(Blocks::Select(select.with_written(true)));
    })
}

/// Of the keys only those past their lengths are NaN: every live one takes part in the choice.
fn inputs_of(case: &Case, seed: u64) -> Inputs {
    let live = case.clone().with(|p| {
        p.mask = Mask::default().with_kv_lens(p.mask.kv_lens.clone());
    });
    Inputs::new(&live, Data::Normal(1.0), seed)
}

/// The same case over the lists that the reference chooses.
fn listed(case: &Case, inputs: &Inputs) -> Case {
    let problem = selected(&case.problem, &inputs.tensors(case));
    case.clone().with(|p| *p = problem)
}

/// Holds the lists and the output against the reference.
fn check_choice(case: &Case, inputs: &Inputs, choice: &PlanOptions) {
    let (plan, output, got) = chosen(case, inputs, choice);
    let context = format!("{}\n{plan}", case.name);
    let want = selection(&case.problem, &inputs.tensors(case));
    assert_eq!(got, want, "{context}");
    check(&listed(case, inputs), inputs, &output, &context);
}

fn masks() -> Vec<Mask> {
    let sizes = SIZES;
    let ids = |len: u32| -> Vec<i32> { (0..2 * len).map(|n| (n % len / 30) as i32).collect() };
    let mixed = |len: u32| -> Vec<i32> { (0..2 * len).map(|n| (n / 40 * 7 % 3) as i32).collect() };
    let segments = |ids: &dyn Fn(u32) -> Vec<i32>| {
        Mask::default().with_segments(Segments::Host {
            q: ids(sizes.q_len),
            k: ids(sizes.kv_len),
        })
    };
    let sees: Vec<bool> = (0..sizes.q_heads * sizes.kv_len)
        .map(|n| n / 16 % 3 != 1 && n % 7 < 5)
        .collect();
    let of_keys = [1, sizes.q_heads, 1];
    let dense = DenseMask::from_bools(of_keys, sizes.kv_len, &sees).ok();
    let dense = Mask::causal().with_dense(dense);
    vec![
        Mask::default(),
        Mask::causal(),
        dense,
        Mask::window(60, 9).with_first(5),
        Mask::causal().with_kv_lens(Lengths::Host(vec![71, 0])),
        Mask::causal()
            .with_q_offset(Offsets::Host(vec![-40, 300]))
            .with_prefix(20),
        segments(&ids),
        segments(&mixed),
    ]
}

const SIZES: Sizes = Sizes {
    batch: 2,
    q_heads: 4,
    kv_heads: 2,
    q_len: 150,
    kv_len: 170,
};

#[test]
fn by_lengths_and_offsets_that_live_on_the_gpu() {
    let mask = Mask::causal()
        .with_kv_lens(Lengths::Device)
        .with_q_offset(Offsets::Device);
    let name = "lengths and offsets on the device";
    let mut on_device = selecting(case(name, SIZES, mask), Select::new(16, 4));
    on_device.kv_lens = Some(vec![71, u32::MAX]);
    on_device.q_offset = Some(vec![-40, 13]);
    let inputs = inputs_of(&on_device, 11);
    for choice in strategies(gpu()) {
        check_choice(&on_device, &inputs, &choice);
    }
}

#[test]
fn the_choice_is_the_references() {
    let mut seed = 0;
    for by in [SelectBy::Mean, SelectBy::MinMax] {
        for (side, count, local) in [(16, 3, 1), (16, 7, 0), (32, 2, 2), (48, 1, 9)] {
            for mask in masks() {
                let name = format!("{count} blocks of {side} by {by:?}, {mask:?}");
                let select = Select::new(side, count).with_by(by).with_local(local);
                let case = selecting(case(name, SIZES, mask), select);
                let inputs = inputs_of(&case, seed);
                let choices = strategies(gpu());
                check_choice(&case, &inputs, &choices[seed as usize % choices.len()]);
                seed += 1;
            }
        }
    }
}

/// Means of equal rows are equal whatever a block's length, so all scores of the keys beyond the forced ones tie.
#[test]
fn of_equal_scores_the_lower_block_wins() {
    for by in [SelectBy::Mean, SelectBy::MinMax] {
        let select = Select::new(16, 4).with_by(by);
        let case = selecting(
            case(format!("ties by {by:?}"), SIZES, Mask::default()),
            select,
        );
        let mut inputs = inputs_of(&case, 1);
        // 0.1 is no f32: its sums round.
        let tenth = f64::from(0.1f32);
        inputs.k.fill(tenth);
        inputs.buffers[1] = encode(Element::F32, &inputs.k);
        check_choice(&case, &inputs, &PlanOptions::default());
    }
}

#[test]
fn every_element_and_odd_rows() {
    for (n, element) in Element::ALL.into_iter().enumerate() {
        for dim in [7, 40] {
            let setting = Setting::new(dim, 16, element);
            let case = Case::new(format!("{element}, D = {dim}"), &setting, SIZES);
            let select = Select::new(16, 4).with_by(if n % 2 == 0 {
                SelectBy::MinMax
            } else {
                SelectBy::Mean
            });
            let case = selecting(case.with(|p| p.mask.causal = true), select);
            let inputs = inputs_of(&case, n as u64);
            check_choice(&case, &inputs, &PlanOptions::default());
        }
    }
}

/// Keys are compared as they are rotated; a slice chooses what the whole chooses.
#[test]
fn after_rotation_and_in_slices() {
    let whole = selecting(case("rotated", SIZES, Mask::causal()), Select::new(16, 5))
        .with(|p| p.position.rotary = Some(Rotary::new(12)));
    let inputs = inputs_of(&whole, 3);
    check_choice(&whole, &inputs, &PlanOptions::default());
    let plain = whole.clone().with(|p| p.position.rotary = None);
    assert_ne!(
        selection(&whole.problem, &inputs.tensors(&whole)),
        selection(&plain.problem, &inputs.tensors(&plain)),
    );
    let part = whole.clone().with(|p| {
        p.slice = Some(Slice {
            q: 37..101,
            k: 21..133,
        })
    });
    for splits in [1, 3] {
        let choice = PlanOptions::default()
            .with_splits(splits)
            .with_slice_rows(40);
        let (plan, output, _) = chosen(&part, &inputs, &choice);
        check(&listed(&part, &inputs), &inputs, &output, &plan.to_string());
    }
    let fused = PlanOptions::default().with_rotate(RotateWhere::Fused);
    let refused = gpu().attention.plan_with(&whole.problem, &fused);
    assert!(refused.unwrap_err().to_string().contains("rotated q and k"));
}

/// All blocks: the dense answer of the same schedule, to the bit.
#[test]
fn all_blocks_are_the_dense_answer() {
    let dense = case("all blocks", SIZES, Mask::causal());
    let inputs = inputs_of(&dense, 4);
    let all = selecting(dense.clone(), Select::new(32, 170u32.div_ceil(32)));
    for choice in strategies(gpu()) {
        let (plan, got, _) = chosen(&all, &inputs, &choice);
        let same = choice.with_tiling(crate::tiles::tiling(&plan));
        let (_, want) = run(gpu(), &gpu().attention, &dense, &inputs, &same);
        assert_eq!(got, want, "{plan}");
    }
}

/// Calls over the lists that were written are the call that chose them.
#[test]
fn written_lists_are_read_by_other_calls() {
    let select = selecting(case("written", SIZES, Mask::causal()), Select::new(16, 4));
    let inputs = inputs_of(&select, 5);
    let gpu = gpu();
    let plan = gpu.attention.plan(&select.problem).expect("a plan");
    let mut buffers = Buffers::new(&gpu.device, &select, &inputs);
    let words = vec![0xab; lists(&select).words() as usize * 4];
    buffers.add(&gpu.device, Role::BlockLists, &words);
    let want = execute(gpu, &gpu.attention, &plan, &buffers);
    let reads = select.clone().with(|p| {
        p.mask.blocks = Some(Blocks::Device(lists(&select)));
    });
    let plan = gpu.attention.plan(&reads.problem).expect("a plan");
    let got = execute(gpu, &gpu.attention, &plan, &buffers);
    assert_eq!(got, want);
}

/// A choice under masks that no interval tells: mask_mod hides whole blocks from it.
#[test]
fn under_a_mask_of_the_users() {
    let text =
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (j / 32u + h) % 2u == 0u; }";
    let select = Select::new(16, 3);
    let user = selecting(case("mask_mod", SIZES, Mask::causal()), select)
        .with(|p| p.mods = Some(Mods::new(text).expect("a legal text")));
    let inputs = inputs_of(&user, 6);
    let (plan, _, got) = chosen(&user, &inputs, &PlanOptions::default());
    for (n, list) in got.iter().enumerate() {
        let h = n as u32 / SIZES.q_len.div_ceil(16) % SIZES.q_heads;
        assert!(
            list.iter().all(|block| (block / 2 + h).is_multiple_of(2)),
            "{plan}"
        );
    }
    assert!(got.iter().any(|list| list.len() == 3));
}

/// Lists that were chosen beneath a mask_mod hide no less where another call reads them.
#[test]
fn lists_written_beneath_a_mask_of_the_users() {
    let text =
        "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i + j) % 3u != h % 3u; }";
    let select = selecting(case("mask_mod", SIZES, Mask::default()), Select::new(16, 4))
        .with(|p| p.mods = Some(Mods::new(text).expect("a legal text")));
    let inputs = inputs_of(&select, 8);
    let gpu = gpu();
    let mut buffers = Buffers::new(&gpu.device, &select, &inputs);
    let words = vec![0xab; lists(&select).words() as usize * 4];
    buffers.add(&gpu.device, Role::BlockLists, &words);
    // A slice writes its own lists and no others.
    for q in [0..64, 64..SIZES.q_len] {
        let part = select.clone().with(|p| {
            p.slice = Some(Slice {
                q,
                k: 0..SIZES.kv_len,
            })
        });
        let plan = gpu.attention.plan(&part.problem).expect("a plan");
        execute(gpu, &gpu.attention, &plan, &buffers);
    }
    let parts = read(gpu, [buffers.get(Role::BlockLists)]);
    let plan = gpu.attention.plan(&select.problem).expect("a plan");
    let whole = execute(gpu, &gpu.attention, &plan, &buffers);
    let reads = select.clone().with(|p| {
        p.mask.blocks = Some(Blocks::Device(lists(&select)));
    });
    let plan = gpu.attention.plan(&reads.problem).expect("a plan");
    let read_back = execute(gpu, &gpu.attention, &plan, &buffers);
    assert_eq!(read_back, whole);
    assert_eq!(parts, read(gpu, [buffers.get(Role::BlockLists)]));
}

#[test]
fn gradients_take_the_choice_as_given() {
    let part = Slice {
        q: 37..101,
        k: 21..133,
    };
    let whole = masks().into_iter().map(|mask| (mask, None));
    for (mask, slice) in whole.chain([(Mask::causal(), Some(part))]) {
        let chosen = case(format!("{mask:?}, {slice:?}"), SIZES, mask).with(|p| {
            p.mask.blocks = Some(Blocks::Select(Select::new(16, 4)));
            p.position.rotary = Some(Rotary::new(12));
            p.slice = slice;
        });
        let inputs = inputs_of(&chosen, 7);
        let listed = listed(&chosen, &inputs);
        let given = Given::new(&chosen, 7);
        for choice in strategies(gpu()) {
            let (user, own) = ((&chosen, &inputs), (&listed, &inputs));
            let (plan, pass, output) = run_as(gpu(), &gpu().attention, user, own, &given, &choice);
            let mut got = output.gradients(&pass);
            outside_the_slice(&chosen, &mut got).expect("nothing beside the slice");
            let got = (&got, given.element);
            let d_o = (&given.d_o[..], given.dlse.as_deref());
            let context = format!("{}\n{plan}", chosen.name);
            assert_gradients(&listed, &inputs.tensors(&listed), d_o, got, &context);
        }
    }
}

#[test]
fn a_bad_choice_is_refused() {
    for (select, says) in [
        (Select::new(16, 0), "1 to 11, the blocks of 170 keys"),
        (Select::new(16, 12), "1 to 11, the blocks of 170 keys"),
        (Select::new(24, 2), "a multiple of 16"),
    ] {
        let case = selecting(case("refused", SIZES, Mask::default()), select);
        let error = gpu().attention.plan(&case.problem).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

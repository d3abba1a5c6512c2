//! A problem in parts: slices merged, keys split, query rows cut, steps recorded one by one.

use wgpu_attention::Role;
use wgpu_attention::problem::{Mask, Slice, Values};
use wgpu_attention::{Element, Merge, Operands, PlanOptions};

use crate::device::gpu;
use crate::run::{
    Buffers, Output, buffer, check, execute, forward_strategies, read, run, run_and_check,
    strategies,
};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::poisoned;

fn masks() -> Vec<Mask> {
    let first = Mask::window(9, 4).with_first(3);
    vec![Mask::default(), Mask::causal(), first]
}

fn case(mask: Mask, element: Element) -> Case {
    let setting = Setting {
        output: Element::F32,
        ..Setting::new(20, 12, element)
    };
    Case::new(format!("{mask:?}"), &setting, Sizes::two(4, 2, 41, 67)).with(|p| p.mask = mask)
}

/// Slices of the keys that cover them, and one that is empty.
const CUTS: [std::ops::Range<u32>; 5] = [0..13, 13..14, 14..14, 14..41, 41..67];

#[test]
fn slices_of_keys_merge_to_the_whole() {
    let gpu = gpu();
    for (choice, mask) in forward_strategies(gpu)
        .iter()
        .flat_map(|c| masks().into_iter().map(move |m| (c, m)))
    {
        for output in Element::ALL {
            let whole = case(mask.clone(), Element::F32);
            let inputs = Inputs::new(&whole, Data::Normal(1.0), 5);
            let (mut o, mut lse) = (Vec::new(), Vec::new());
            for k in CUTS {
                let part = whole
                    .clone()
                    .with(|p| p.slice = Some(Slice { q: 0..41, k }));
                let (_, out) = run(gpu, &gpu.attention, &part, &inputs, choice);
                o.extend(out.o);
                lse.extend(out.lse);
            }
            let merged = merge(&whole, output, &o, &lse);
            let stored = whole.with(|p| p.o.element = output);
            check(
                &stored,
                &inputs,
                &merged,
                &format!("{} as {output}, {choice:?}", stored.name),
            );
        }
    }
}

/// Joins f32 partials, with the case's sinks.
pub fn merge(case: &Case, output: Element, o: &[u8], lse: &[u8]) -> Output {
    let (gpu, s) = (gpu(), case.problem.shape);
    let parts = (lse.len() as u64 / (s.rows() * 4)) as u32;
    let merge = Merge::new(parts, [s.batch, s.q_heads, s.q_len], s.value_dim, output)
        .with_sinks(case.problem.score.sinks.clone());
    let plan = gpu.attention.plan_merge(&merge).expect("a legal merge");
    let parts = [buffer(&gpu.device, o), buffer(&gpu.device, lse)];
    let outputs = [
        s.rows() * u64::from(s.value_dim) * output.bytes(1),
        s.rows() * 4,
    ]
    .map(|bytes| buffer(&gpu.device, &poisoned(bytes)));
    let sinks = case.values.sinks.as_deref().unwrap_or_default();
    let sinks = buffer(&gpu.device, bytemuck::cast_slice(sinks));
    let mut operands = Operands::merge(&parts[0], &parts[1], &outputs[0], &outputs[1]);
    if merge.sinks == Some(Values::Device) {
        operands = operands.with(Role::Sinks, &sinks);
    }
    let call =
        pollster::block_on(gpu.attention.prepare(&plan, &operands)).expect("a prepared merge");
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    let [o, lse] = read(gpu, [&outputs[0], &outputs[1]]);
    Output { o, lse }
}

#[test]
fn forced_splits_and_row_slices_change_nothing() {
    let gpu = gpu();
    let parts = [
        (Some(2), None),
        (Some(3), None),
        (Some(7), None),
        (None, Some(7)),
        (None, Some(1)),
        (Some(3), Some(16)),
    ];
    for (strategy, (splits, slice_rows)) in strategies(gpu)
        .into_iter()
        .flat_map(|s| parts.map(|p| (s.clone(), p)))
    {
        let choice = strategy.with_splits(splits).with_slice_rows(slice_rows);
        for mask in masks() {
            for element in [Element::F32, Element::BF16] {
                let case = case(mask.clone(), element).with(|p| p.o.element = element);
                let plan = run_and_check(
                    gpu,
                    &case,
                    &Inputs::new(&case, Data::Normal(1.0), 6),
                    &choice,
                );
                let least = slice_rows.map_or(1, |rows| 41_usize.div_ceil(rows as usize));
                assert!(
                    plan.steps().len() >= least * if splits.is_some() { 2 } else { 1 },
                    "{plan}"
                );
            }
        }
    }
}

#[test]
fn steps_recorded_one_by_one_are_the_call() {
    let (gpu, case) = (gpu(), case(Mask::causal(), Element::F16));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
    let choice = PlanOptions::default().with_slice_rows(9).with_splits(2);
    let (plan, at_once) = run(gpu, &gpu.attention, &case, &inputs, &choice);
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    let call =
        pollster::block_on(gpu.attention.prepare(&plan, &buffers.operands())).expect("a call");
    assert!(plan.steps().len() > 4, "{plan}");
    for n in 0..plan.steps().len() {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        call.encode_steps(&mut encoder, n..n + 1);
        gpu.queue.submit([encoder.finish()]);
    }
    let [o, lse] = read(gpu, [&buffers.o, &buffers.lse]);
    assert!(Output { o, lse } == at_once);
    check(&case, &inputs, &at_once, &plan.to_string());
}

#[test]
fn the_same_bits_twice() {
    let gpu = gpu();
    for choice in strategies(gpu) {
        for mask in masks() {
            let case = case(mask, Element::F32);
            let inputs = Inputs::new(&case, Data::Normal(3.0), 9);
            let (plan, first) = run(gpu, &gpu.attention, &case, &inputs, &choice);
            let again = execute(
                gpu,
                &gpu.attention,
                &plan,
                &Buffers::new(&gpu.device, &case, &inputs),
            );
            assert!(first == again, "{plan}");
        }
    }
}

/// A call that is prepared again takes the scratch that the one before left; nothing is allocated until `trim`.
#[test]
fn scratch_of_a_dropped_call_serves_the_next() {
    let gpu = gpu();
    let attention = wgpu_attention::Attention::with_caps(&gpu.device, gpu.attention.caps().clone())
        .expect("caps of the device");
    let case = case(Mask::causal(), Element::F32);
    let inputs = Inputs::new(&case, Data::Normal(1.0), 8);
    let choice = PlanOptions::default().with_splits(3);
    let plan = attention.plan_with(&case.problem, &choice).expect("a plan");
    let scratch: u64 = plan.scratch().iter().sum();
    assert!(scratch > 0, "{plan}");
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    let prepare =
        || pollster::block_on(attention.prepare(&plan, &buffers.operands())).expect("a call");
    let first = prepare();
    assert_eq!(attention.waiting_scratch_bytes(), 0);
    drop(first);
    assert_eq!(attention.waiting_scratch_bytes(), scratch);
    // Two at a time have scratch of their own.
    let (second, third) = (prepare(), prepare());
    assert_eq!(attention.waiting_scratch_bytes(), 0);
    drop((second, third));
    assert_eq!(attention.waiting_scratch_bytes(), 2 * scratch);
    for _ in 0..5 {
        let output = execute(gpu, &attention, &plan, &buffers);
        check(&case, &inputs, &output, &plan.to_string());
        assert_eq!(attention.waiting_scratch_bytes(), 2 * scratch);
    }
    attention.trim();
    assert_eq!(attention.waiting_scratch_bytes(), 0);
}

//! A call that is prepared or recorded again: nothing new is allocated, and each recording keeps its own values.

use wgpu_attention::problem::{Lengths, Mask, Offsets};
use wgpu_attention::{Attention, Call, Element, Error, Plan, PlanOptions};

use crate::device::{Gpu, gpu};
use crate::run::Output;
use crate::run::{Buffers, check, read, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

fn sizes() -> Sizes {
    Sizes::two(4, 2, 19, 150)
}

fn case(change: impl Fn(&mut Mask)) -> Case {
    let setting = Setting::new(16, 16, Element::F32);
    Case::new("again", &setting, sizes()).with(|p| change(&mut p.mask))
}

fn prepared(attention: &Attention, plan: &Plan, buffers: &Buffers) -> Call {
    pollster::block_on(attention.prepare(plan, &buffers.operands())).expect("a call")
}

/// Records the call with each of these values into one encoder, and copies out what each computed.
fn record_all<T>(
    case: &Case,
    choice: &PlanOptions,
    values: &[T],
    set: impl Fn(&mut Call, &T),
) -> Vec<Output> {
    let (gpu, inputs) = (gpu(), inputs(case));
    let plan = gpu
        .attention
        .plan_with(&case.problem, choice)
        .expect("a plan");
    let buffers = Buffers::new(&gpu.device, case, &inputs);
    let mut call = prepared(&gpu.attention, &plan, &buffers);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let kept = values.iter().map(|value| {
        set(&mut call, value);
        call.encode(&mut encoder);
        [&buffers.o, &buffers.lse].map(|from| {
            let to = crate::run::buffer(&gpu.device, &vec![0; from.size() as usize]);
            encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
            to
        })
    });
    let kept: Vec<_> = kept.collect();
    gpu.queue.submit([encoder.finish()]);
    let outputs = kept.iter().map(|[o, lse]| {
        let [o, lse] = read(gpu, [o, lse]);
        Output { o, lse }
    });
    outputs.collect()
}

fn inputs(case: &Case) -> Inputs {
    Inputs::new(case, Data::Normal(1.0), 6)
}

fn choices() -> Vec<PlanOptions> {
    let split = PlanOptions::default().with_splits(3);
    strategies(gpu()).into_iter().chain([split]).collect()
}

#[test]
fn other_lengths_in_one_encoder() {
    let planned = case(|mask| mask.kv_lens = Lengths::Host(vec![150, 120]));
    let lens = [vec![150, 120], vec![3, 0], vec![77, 120]];
    for choice in choices() {
        let set = |call: &mut Call, lens: &Vec<u32>| call.set_kv_lens(lens).expect("lengths");
        let outputs = record_all(&planned, &choice, &lens, set);
        for (lens, output) in lens.iter().zip(outputs) {
            let case = case(|mask| mask.kv_lens = Lengths::Host(lens.clone()));
            check(
                &case,
                &inputs(&case),
                &output,
                &format!("{lens:?} {choice:?}"),
            );
        }
    }
}

#[test]
fn other_offsets_in_one_encoder() {
    let masked = |offsets: &[i32]| {
        case(|mask| {
            mask.causal = true;
            mask.q_offset = Offsets::Host(offsets.to_vec());
        })
    };
    let planned = masked(&[131, 100]);
    let offsets = [vec![131, 100], vec![0, -5], vec![60, 99]];
    for choice in choices() {
        let set =
            |call: &mut Call, offsets: &Vec<i32>| call.set_q_offset(offsets).expect("offsets");
        let outputs = record_all(&planned, &choice, &offsets, set);
        for (offsets, output) in offsets.iter().zip(outputs) {
            let case = masked(offsets);
            check(
                &case,
                &inputs(&case),
                &output,
                &format!("{offsets:?} {choice:?}"),
            );
        }
    }
}

#[test]
fn other_scales_in_one_encoder() {
    let planned = case(|mask| mask.causal = true);
    for choice in choices() {
        let set = |call: &mut Call, scale: &f32| call.set_scale(*scale).expect("a scale");
        let scales = [0.5, planned.problem.scale(), -2.0];
        let outputs = record_all(&planned, &choice, &scales, set);
        for (scale, output) in scales.iter().zip(outputs) {
            let case = case(|mask| mask.causal = true).with(|p| p.scale = Some(*scale));
            check(
                &case,
                &inputs(&case),
                &output,
                &format!("{scale} {choice:?}"),
            );
        }
    }
}

#[test]
fn what_the_plan_was_not_made_for_is_refused() {
    let gpu = gpu();
    let with = |change: &dyn Fn(&mut Mask)| {
        let case = case(change);
        let plan = gpu.attention.plan(&case.problem).expect("a plan");
        let buffers = Buffers::new(&gpu.device, &case, &inputs(&case));
        prepared(&gpu.attention, &plan, &buffers)
    };
    let mut call = with(&|mask| {
        mask.kv_lens = Lengths::Host(vec![100, 90]);
        mask.causal = true;
        mask.q_offset = Offsets::Host(vec![40, 50]);
    });
    assert_eq!(call.set_kv_lens(&[100, 0]), Ok(()));
    assert!(matches!(
        call.set_scale(f32::NAN),
        Err(Error::Number { .. })
    ));
    let longer = call.set_kv_lens(&[100, 91]);
    assert!(
        matches!(
            longer,
            Err(Error::Element {
                what: "kv_lens",
                index: 1,
                ..
            })
        ),
        "{longer:?}"
    );
    assert!(
        longer
            .expect_err("longer")
            .to_string()
            .contains("Lengths::Device")
    );
    let later = call.set_q_offset(&[41, 50]);
    assert!(
        matches!(
            later,
            Err(Error::Element {
                what: "q_offset",
                index: 0,
                ..
            })
        ),
        "{later:?}"
    );
    assert!(matches!(call.set_kv_lens(&[1]), Err(Error::Count { .. })));
    let mut plain = with(&|_| {});
    assert_eq!(
        plain.set_kv_lens(&[1, 1]),
        Err(Error::NotHostHeld { what: "kv_lens" })
    );
    assert_eq!(
        plain.set_q_offset(&[1, 1]),
        Err(Error::NotHostHeld { what: "q_offset" })
    );
}

/// A call whose plan was prepared before takes all of its own buffers from those that were left, and computes the same;
/// one that was given other values leaves none that hold them.
#[test]
fn a_plan_that_is_prepared_again_takes_what_was_left() {
    let gpu = gpu();
    let attention = Attention::with_caps(&gpu.device, gpu.attention.caps().clone()).expect("caps");
    let case = case(|mask| mask.kv_lens = Lengths::Host(vec![150, 120]));
    let inputs = inputs(&case);
    let plan = attention.plan(&case.problem).expect("a plan");
    let buffers = Buffers::new(&gpu.device, &case, &inputs);
    drop(prepared(&attention, &plan, &buffers));
    let held = attention.waiting_constant_bytes();
    assert!(held > 0);
    for _ in 0..3 {
        let call = prepared(&attention, &plan, &buffers);
        assert_eq!(attention.waiting_constant_bytes(), 0);
        drop(call);
        assert_eq!(attention.waiting_constant_bytes(), held);
        let output = crate::run::execute(gpu, &attention, &plan, &buffers);
        check(&case, &inputs, &output, "again");
    }
    let mut call = prepared(&attention, &plan, &buffers);
    call.set_kv_lens(&[1, 1]).expect("lengths");
    drop(call);
    assert_eq!(attention.waiting_constant_bytes(), 0);
    drop(prepared(&attention, &plan, &buffers));
    attention.trim();
    assert_eq!(attention.waiting_constant_bytes(), 0);
    assert_eq!(attention.compiled_variants(), 0);
}

/// Recorded with other lengths, offsets and scales, a call makes one buffer that carries the values, and the same one comes
/// back when its submission is done.
#[test]
fn other_values_make_no_more_buffers() {
    let (instance, gpu) = Gpu::alone();
    let case = case(|mask| {
        mask.kv_lens = Lengths::Host(vec![150, 120]);
        mask.causal = true;
        mask.q_offset = Offsets::Host(vec![131, 101]);
    });
    let plan = gpu.attention.plan(&case.problem).expect("a plan");
    let buffers = Buffers::new(&gpu.device, &case, &inputs(&case));
    let mut call = prepared(&gpu.attention, &plan, &buffers);
    let held_after = |call: &Call| {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        call.encode(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        let poll = gpu.device.poll(wgpu::PollType::wait_indefinitely());
        poll.expect("the device answers");
        let report = instance.generate_report().expect("a native instance");
        let hub = report.hub_report();
        [&hub.buffers, &hub.bind_groups].map(|of| of.num_allocated)
    };
    let [buffers, groups] = held_after(&call);
    for n in 0..20 {
        call.set_kv_lens(&[150 - n, 120 - n]).expect("lengths");
        call.set_q_offset(&[131 - n as i32, 101]).expect("offsets");
        call.set_scale(0.1 + n as f32 * 0.01).expect("a scale");
        assert_eq!(held_after(&call), [buffers + 1, groups], "recording {n}");
    }
}

//! Calls in slices of a time: the bits of one submit, whatever the slices.

use std::collections::BTreeMap;

use wgpu_attention::plan::Requirement;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{BlockGrid, Blocks, Mask, Mods, Offsets, Select, Window};
use wgpu_attention::{
    Attention, Backward, BlockScan, Budget, Call, Element, Error, Host, Merge, Operands, Plan,
    PlanOptions, Problem, Role, Rotation, RunWithin, Shape,
};

use crate::device::{Gpu, gpu};
use crate::run::buffer;

/// Short enough for slices of one workgroup each.
fn least() -> Budget {
    Budget::from_millis(1e-4).expect("a budget")
}

fn millis(ms: f32) -> Budget {
    Budget::from_millis(ms).expect("a budget")
}

/// A plan's operands: inputs of numbers from −1 to 1, outputs of ones.
struct Bound {
    buffers: BTreeMap<Role, wgpu::Buffer>,
    outputs: Vec<Role>,
}

impl Bound {
    fn new(gpu: &Gpu, plan: &Plan) -> Self {
        let make = |need: &Requirement| {
            let number = |n: u32| {
                let word = n.wrapping_add(need.role as u32).wrapping_mul(0x9E37_79B9);
                (word >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            let count = need.bytes.div_ceil(4) as u32;
            let numbers: Vec<f32> = match need.output {
                true => vec![1.0; count as usize],
                false => (0..count).map(number).collect(),
            };
            (
                need.role,
                buffer(&gpu.device, bytemuck::cast_slice(&numbers)),
            )
        };
        let needs = plan.requirements();
        let outputs = needs.iter().filter(|need| need.output);
        Self {
            buffers: needs.iter().map(make).collect(),
            outputs: outputs.map(|need| need.role).collect(),
        }
    }

    fn operands(&self) -> Operands<'_> {
        let each = self.buffers.iter();
        each.fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        })
    }

    fn call(&self, attention: &Attention, plan: &Plan) -> Call {
        pollster::block_on(attention.prepare(plan, &self.operands())).expect("a call")
    }

    /// What the outputs hold; they hold zeros from then on.
    fn take(&self, gpu: &Gpu) -> Vec<(Role, Vec<u8>)> {
        let take = |role: &Role| {
            let buffer = &self.buffers[role];
            let bytes = wgpu_attention::download(&gpu.device, &gpu.queue, buffer);
            let bytes = pollster::block_on(bytes).expect("bytes");
            gpu.queue.write_buffer(buffer, 0, &vec![0; bytes.len()]);
            (*role, bytes)
        };
        self.outputs.iter().map(take).collect()
    }
}

fn submit(gpu: &Gpu, record: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    record(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .expect("a device");
}

/// Runs all slices; answers how many there were.
fn run_all<C: std::borrow::BorrowMut<Call>>(gpu: &Gpu, run: &mut RunWithin<C>) -> usize {
    let (mut count, mut progress) = (0, run.progress());
    while !run.is_done() {
        submit(gpu, |encoder| {
            run.encode_next(encoder).expect("a slice");
        });
        count += 1;
        assert!(run.progress() > progress, "progress stays at {progress}");
        progress = run.progress();
    }
    assert_eq!(run.progress(), 1.0);
    submit(gpu, |encoder| assert!(run.encode_next(encoder).is_none()));
    count
}

/// In one submit, workgroup by workgroup, in slices of some, and in one submit again.
fn check(name: &str, plan: &Plan) {
    let gpu = gpu();
    let bound = Bound::new(gpu, plan);
    let mut call = bound.call(&gpu.attention, plan);
    submit(gpu, |encoder| call.encode(encoder));
    let whole = bound.take(gpu);
    assert!(
        whole
            .iter()
            .any(|(_, bytes)| bytes.iter().any(|&byte| byte != 0)),
        "{name}"
    );
    let workgroups = plan.slices(least()).len();
    for budget in [least(), millis(0.3), millis(1e6)] {
        let count = run_all(gpu, &mut call.run_within(&gpu.queue, budget));
        if budget == least() {
            assert_eq!(count, workgroups, "{name}");
        }
        for (one, (role, other)) in whole.iter().zip(bound.take(gpu)) {
            assert!(one.1 == other, "{name}, {role}, slices of {budget}");
        }
    }
    assert!(workgroups > 3, "{name}: {workgroups}");
    submit(gpu, |encoder| call.encode(encoder));
    assert!(
        bound.take(gpu) == whole,
        "{name}: the call is no longer as it was prepared"
    );
}

fn shape() -> Shape {
    Shape {
        kv_heads: 2,
        ..Shape::square(1, 4, 150, 16)
    }
}

fn causal() -> Problem {
    Problem::new(shape(), Element::F32).with_mask(Mask::causal())
}

#[test]
fn forward_in_slices_is_forward() {
    let attention = &gpu().attention;
    let window = Window {
        left: Some(20),
        right: Some(0),
    };
    for (name, problem) in [
        ("causal", causal()),
        (
            "window",
            causal().with_mask(Mask::causal().with_window(window)),
        ),
    ] {
        for splits in [None, Some(3)] {
            let options = PlanOptions::default().with_splits(splits);
            let plan = attention.plan_with(&problem, &options).expect("a plan");
            check(&format!("{name}, splits {splits:?}"), &plan);
        }
    }
}

#[test]
fn gradients_in_slices_are_gradients() {
    let attention = &gpu().attention;
    let backward = Backward::new(causal(), Element::F32);
    for splits in [None, Some(2)] {
        let options = PlanOptions::default().with_splits(splits);
        let plan = attention
            .plan_backward_with(&backward, &options)
            .expect("a plan");
        check(&format!("gradients, splits {splits:?}"), &plan);
    }
}

#[test]
fn decode_in_slices_is_decode() {
    let shape = Shape {
        q_len: 1,
        kv_len: 700,
        ..shape()
    };
    let options = PlanOptions::default().with_splits(4);
    let problem = Problem::new(shape, Element::F32);
    let plan = gpu()
        .attention
        .plan_with(&problem, &options)
        .expect("a plan");
    assert_eq!(plan.steps()[0].kernel(), "prefill");
    check("decode", &plan);
}

#[test]
fn choosing_blocks_in_slices_chooses_the_same() {
    let select = Select::new(16, 4).with_written(true);
    let mask = Mask::causal().with_blocks(Blocks::Select(select));
    let plan = gpu()
        .attention
        .plan(&causal().with_mask(mask))
        .expect("a plan");
    check("selection", &plan);
}

#[test]
fn a_scan_in_slices_is_a_scan() {
    let text = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i / 20u + j / 20u) % 3u == 0u; }";
    let mods = Mods::new(text).expect("a legal text");
    let scan = BlockScan::new(BlockGrid::new(16, 150, 131), mods);
    let plan = gpu()
        .attention
        .plan_scan(&scan.with_q_offset(Offsets::default()))
        .expect("a plan");
    check("scan", &plan);
}

#[test]
fn operations_in_slices_are_operations() {
    let attention = &gpu().attention;
    let merge = Merge::new(3, [2, 4, 50], 16, Element::F32);
    check("merge", &attention.plan_merge(&merge).expect("a plan"));
    let rotation = Rotation::new(Rotary::new(16), [2, 4, 150], Element::F32);
    check(
        "rotation",
        &attention.plan_rotation(&rotation).expect("a plan"),
    );
}

/// Two calls of one kernel, whose slices take turns in the same encoders.
#[test]
fn calls_take_turns() {
    let gpu = gpu();
    let plans = [causal(), causal().with_scale(0.7)];
    let plans = plans.map(|problem| {
        let options = PlanOptions::default().with_splits(2);
        gpu.attention.plan_with(&problem, &options).expect("a plan")
    });
    let bound = plans.each_ref().map(|plan| Bound::new(gpu, plan));
    let alone = [0, 1].map(|n| {
        let call = bound[n].call(&gpu.attention, &plans[n]);
        submit(gpu, |encoder| call.encode(encoder));
        bound[n].take(gpu)
    });
    // These own their calls, as an application keeps them across frames.
    let mut runs = [0, 1].map(|n| {
        let call = bound[n].call(&gpu.attention, &plans[n]);
        RunWithin::new(call, &gpu.queue, least())
    });
    while !runs.iter().all(RunWithin::is_done) {
        submit(gpu, |encoder| {
            for run in &mut runs {
                // More than one slice in an encoder: each keeps its own parameters.
                let _ = (run.encode_next(encoder), run.encode_next(encoder));
            }
        });
    }
    for (n, alone) in alone.iter().enumerate() {
        assert!(bound[n].take(gpu) == *alone, "call {n}");
    }
    assert_ne!(alone[0], alone[1]);
}

/// Dropped half-way, a run leaves the call, its scratch and its parameters as if it had not been.
#[test]
fn a_run_that_is_dropped_leaves_nothing_behind() {
    let gpu = gpu();
    let attention = Attention::with_caps(&gpu.device, gpu.attention.caps().clone()).expect("caps");
    let options = PlanOptions::default().with_splits(2);
    let plan = attention.plan_with(&causal(), &options).expect("a plan");
    let bound = Bound::new(gpu, &plan);
    let mut call = bound.call(&attention, &plan);
    submit(gpu, |encoder| call.encode(encoder));
    let whole = bound.take(gpu);
    let mut run = call.run_within(&gpu.queue, least());
    for _ in 0..3 {
        submit(gpu, |encoder| drop(run.encode_next(encoder)));
    }
    assert!(!run.is_done() && run.remaining().as_nanos() > 0);
    drop(run);
    bound.take(gpu);
    // One recorded and never submitted does not matter either.
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.run_within(&gpu.queue, least())
        .encode_next(&mut encoder);
    drop(encoder);
    submit(gpu, |encoder| call.encode(encoder));
    assert!(bound.take(gpu) == whole);
    drop(call);
    let scratch = plan.scratch().iter().sum::<u64>();
    assert_eq!(attention.waiting_scratch_bytes(), scratch);
    assert!(attention.waiting_constant_bytes() > 0);
    // The next call of the plan takes both.
    let call = bound.call(&attention, &plan);
    assert_eq!(
        (
            attention.waiting_scratch_bytes(),
            attention.waiting_constant_bytes()
        ),
        (0, 0)
    );
    submit(gpu, |encoder| call.encode(encoder));
    assert!(bound.take(gpu) == whole);
}

/// What one call took is known to the next one's slices, with timestamps and without.
#[test]
fn the_device_is_learned() {
    for gpu in [Gpu::another(), Gpu::least()] {
        let plan = gpu.attention.plan(&causal()).expect("a plan");
        let budget = millis(1.0);
        let before = gpu.attention.slices(&plan, budget);
        let bound = Bound::new(&gpu, &plan);
        let mut call = bound.call(&gpu.attention, &plan);
        run_all(&gpu, &mut call.run_within(&gpu.queue, budget));
        let after = gpu.attention.slices(&plan, budget);
        let time = |slices: &[wgpu_attention::plan::Slice]| {
            let each = slices.iter().map(|slice| slice.expected);
            each.sum::<std::time::Duration>()
        };
        assert_ne!(time(&before), time(&after));
    }
}

#[test]
fn the_time_of_each_step_is_told_in_the_plans_words() {
    let gpu = gpu();
    let options = PlanOptions::default().with_splits(2);
    let plan = gpu
        .attention
        .plan_with(&causal(), &options)
        .expect("a plan");
    let bound = Bound::new(gpu, &plan);
    let call = bound.call(&gpu.attention, &plan);
    submit(gpu, |encoder| call.encode(encoder));
    let whole = bound.take(gpu);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let timed = match call.encode_timed(&gpu.queue, &mut encoder) {
        Ok(timed) => timed,
        Err(error) => {
            assert!(
                !gpu.device
                    .features()
                    .contains(wgpu::Features::TIMESTAMP_QUERY)
            );
            assert!(matches!(error, Error::NotGranted { .. }), "{error:?}");
            return;
        }
    };
    gpu.queue.submit([encoder.finish()]);
    let times = pollster::block_on(timed.times()).expect("times");
    assert!(bound.take(gpu) == whole);
    assert_eq!(times.len(), plan.steps().len());
    let text = plan.to_string();
    for (time, step) in times.iter().zip(plan.steps()) {
        assert!(time.time.as_nanos() > 0, "{time}");
        assert_eq!(time.cost, step.cost);
        let words = format!("{}. {}: {}", time.step + 1, time.kernel, time.tiles);
        assert!(
            text.contains(&words) && time.to_string().contains(&words),
            "{time}\n{text}"
        );
    }
}

#[test]
fn timestamps_must_be_granted() {
    let gpu = Gpu::least();
    let plan = gpu.attention.plan(&causal()).expect("a plan");
    let bound = Bound::new(&gpu, &plan);
    let call = bound.call(&gpu.attention, &plan);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let refused = call
        .encode_timed(&gpu.queue, &mut encoder)
        .expect_err("no timestamps");
    assert!(refused.to_string().contains("TIMESTAMP_QUERY"), "{refused}");
}

/// What `run` submits itself goes slice by slice; the answer is that of one submit.
#[test]
fn what_the_library_submits_is_sliced() {
    let gpu = gpu();
    let shape = Shape::square(1, 1, 512, 64);
    let problem = Problem::new(shape, Element::F32);
    let plan = gpu.attention.plan(&problem).expect("a plan");
    let bound = Bound::new(gpu, &plan);
    let call = bound.call(&gpu.attention, &plan);
    let inputs = [Role::Q, Role::K, Role::V].map(|role| {
        let bytes = wgpu_attention::download(&gpu.device, &gpu.queue, &bound.buffers[&role]);
        pollster::block_on(bytes).expect("bytes")
    });
    submit(gpu, |encoder| call.encode(encoder));
    let host = Host::new(&inputs[0], &inputs[1], &inputs[2]);
    let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, &plan, &host)).expect("outputs");
    let whole = bound.take(gpu);
    let o = whole.iter().find(|(role, _)| *role == Role::O).expect("o");
    assert!(outputs.o == o.1);
}

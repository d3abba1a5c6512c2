//! `Call::check`: the device's values, judged as the host judges its own.

use std::future::Future;
use std::task::{Context, Waker};

use wgpu_attention::Role;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    CuSeqlens, KvAddress, Layout, Lengths, MAX_LEN, MAX_POSITION, MAX_SLOPE, Offsets, Positions,
    T5, T5Bias, Values,
};
use wgpu_attention::{
    Call, Element, Embedding, Error, KvAppend, Operands, Plan, Problem, Rotation, Shape,
};

use crate::device::{Gpu, gpu};
use crate::run::buffer;

/// Operands by role, as words.
type Words<'a> = [(Role, &'a [u32])];

/// Prepares `plan` with `words`; every other operand holds zeros.
fn prepared(gpu: &Gpu, plan: &Plan, words: &Words) -> Call {
    let buffers: Vec<_> = plan
        .requirements()
        .iter()
        .map(
            |need| match words.iter().find(|(role, _)| *role == need.role) {
                Some((role, words)) => (*role, buffer(&gpu.device, bytemuck::cast_slice(words))),
                None => (
                    need.role,
                    buffer(&gpu.device, &vec![0; need.bytes as usize]),
                ),
            },
        )
        .collect();
    let operands = buffers
        .iter()
        .fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        });
    pollster::block_on(gpu.attention.prepare(plan, &operands)).expect("a call")
}

fn checked(plan: &Plan, words: &Words) -> Result<(), Error> {
    let gpu = gpu();
    pollster::block_on(prepared(gpu, plan, words).check(&gpu.queue))
}

fn plan(change: impl FnOnce(&mut Problem)) -> Plan {
    let shape = Shape {
        kv_len: 9,
        ..Shape::square(3, 2, 4, 8)
    };
    let mut problem = Problem::new(shape, Element::F32);
    change(&mut problem);
    gpu().attention.plan(&problem).expect("a plan")
}

fn element(what: &'static str, index: usize, actual: i64, allowed: &str) -> Result<(), Error> {
    Err(Error::Element {
        what,
        index,
        actual,
        allowed: allowed.into(),
    })
}

/// `i32` words.
fn signed<const N: usize>(values: [i32; N]) -> [u32; N] {
    values.map(|x| x as u32)
}

#[test]
fn what_the_host_holds_needs_no_check() {
    let plan = plan(|p| p.mask.kv_lens = Lengths::Host(vec![0, 9, 3]));
    assert_eq!(plan.checks(), []);
    assert_eq!(checked(&plan, &[]), Ok(()));
}

#[test]
fn lengths() {
    let plan = plan(|p| p.mask.kv_lens = Lengths::Device);
    let check = |lens: [u32; 3]| checked(&plan, &[(Role::KvLens, &lens)]);
    assert_eq!(check([0, 9, 3]), Ok(()));
    let allowed = "0 to kv_len = 9";
    assert_eq!(check([9, 10, 11]), element("kv_lens", 1, 10, allowed));
    let most = u32::MAX;
    assert_eq!(
        check([1, 2, most]),
        element("kv_lens", 2, most.into(), allowed)
    );
}

#[test]
fn offsets() {
    let far = MAX_LEN as i32;
    let anywhere = plan(|p| p.mask.q_offset = Offsets::Device);
    let check = |plan, offsets| checked(plan, &[(Role::QOffset, &signed(offsets))]);
    assert_eq!(check(&anywhere, [-far, far, 0]), Ok(()));
    let allowed = format!("-{far} to {far}, the offsets that shaders tell apart");
    for (index, offsets) in [[far + 1, 0, 0], [0, -far - 1, 0], [0, 0, i32::MIN]]
        .into_iter()
        .enumerate()
    {
        let actual = offsets[index].into();
        assert_eq!(
            check(&anywhere, offsets),
            element("q_offset", index, actual, &allowed)
        );
    }
    // Queries at their indices: the last of the four must have a row in the table.
    let rotated = plan(|p| {
        p.mask.q_offset = Offsets::Device;
        p.position.rotary = Some(Rotary::new(8));
        p.position.range = Some(-5..=20);
    });
    assert_eq!(check(&rotated, [-5, 17, 0]), Ok(()));
    let allowed = "-5 to 17, which keep every query inside of the stated range; state a wider one";
    assert_eq!(
        check(&rotated, [0, 18, 0]),
        element("q_offset", 1, 18, allowed)
    );
    assert_eq!(
        check(&rotated, [0, 0, -6]),
        element("q_offset", 2, -6, allowed)
    );
}

#[test]
fn positions() {
    let rotated = plan(|p| {
        p.position.rotary = Some(Rotary::new(8));
        p.position.q_positions = Positions::Device;
        p.position.range = Some(-5..=20);
    });
    let mut q = signed([-5, 20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(checked(&rotated, &[(Role::QPositions, &q)]), Ok(()));
    q[11] = 21;
    let allowed = "-5 to 20, the stated range; state a wider one";
    assert_eq!(
        checked(&rotated, &[(Role::QPositions, &q)]),
        element("q_positions", 11, 21, allowed)
    );
    q[3] = i32::MIN as u32;
    assert_eq!(
        checked(&rotated, &[(Role::QPositions, &q)]),
        element("q_positions", 3, i32::MIN.into(), allowed)
    );
}

/// Over many workgroups the first is told; keys for distances have no table, and so the widest range.
#[test]
fn the_first_of_very_many() {
    let shape = Shape {
        kv_len: 70_001,
        ..Shape::square(1, 1, 1, 1)
    };
    let mut problem = Problem::new(shape, Element::F32);
    problem.score.slopes = Some(Values::Host(vec![0.5]));
    problem.position.k_positions = Positions::Device;
    let plan = gpu().attention.plan(&problem).expect("a plan");
    let mut k = vec![-MAX_POSITION as u32; 70_001];
    assert_eq!(checked(&plan, &[(Role::KPositions, &k)]), Ok(()));
    let allowed =
        format!("-{MAX_POSITION} to {MAX_POSITION}, the positions that shaders tell apart");
    for at in [70_000, 65_535, 16_384, 256, 255, 0] {
        k[at] = MAX_POSITION as u32 + 1;
        let actual = i64::from(MAX_POSITION) + 1;
        assert_eq!(
            checked(&plan, &[(Role::KPositions, &k)]),
            element("k_positions", at, actual, &allowed)
        );
    }
}

#[test]
fn numbers() {
    let plan = plan(|p| {
        p.score.slopes = Some(Values::Device);
        p.score.sinks = Some(Values::Device);
        p.score.t5 = Some(T5Bias::new(T5::causal().with_buckets(4), Values::Device));
    });
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let check = |slopes: [f32; 2], sinks: [f32; 2], t5: [f32; 8]| {
        let words = [bits(&slopes), bits(&sinks), bits(&t5)];
        let roles = [Role::Slopes, Role::Sinks, Role::T5];
        let words: Vec<_> = roles
            .into_iter()
            .zip(words.iter().map(Vec::as_slice))
            .collect();
        checked(&plan, &words)
    };
    let fine = [MAX_SLOPE, -MAX_SLOPE];
    assert_eq!(check(fine, [-0.0, 1e-40], [1.0; 8]), Ok(()));
    let refusal = |result| match result {
        Err(Error::NumberAt {
            what,
            index,
            actual,
            ..
        }) => (what, index, actual),
        other => panic!("{other:?}"),
    };
    let (what, index, actual) = refusal(check([0.0, -f32::NAN], fine, [1.0; 8]));
    assert!(what == "slopes" && index == 1 && actual.is_nan());
    let (what, index, actual) = refusal(check(fine, [f32::NEG_INFINITY, 0.0], [1.0; 8]));
    assert_eq!((what, index, actual), ("sinks", 0, f32::NEG_INFINITY));
    let mut t5 = [1.0; 8];
    t5[7] = f32::INFINITY;
    let (what, index, actual) = refusal(check(fine, fine, t5));
    assert_eq!((what, index, actual), ("t5", 7, f32::INFINITY));
}

#[test]
fn rotations_and_tables() {
    let rotation = Rotation::new(Rotary::new(8), [1, 1, 3], Element::F32)
        .with_positions(Positions::Device)
        .with_range(-5..=6);
    let plan = gpu().attention.plan_rotation(&rotation).expect("a plan");
    let check = |plan, positions| checked(plan, &[(Role::QPositions, &signed(positions))]);
    assert_eq!(check(&plan, [-5, 6, 0]), Ok(()));
    let allowed = "-5 to 6, the stated range; state a wider one";
    assert_eq!(
        check(&plan, [0, 7, 0]),
        element("q_positions", 1, 7, allowed)
    );
    let embedding = Embedding::new([1, 3, 8], 10, Element::F32).with_positions(Positions::Device);
    let plan = gpu().attention.plan_embedding(&embedding).expect("a plan");
    assert_eq!(check(&plan, [0, 9, 5]), Ok(()));
    let allowed = "0 to 9, the rows of the table";
    assert_eq!(
        check(&plan, [0, 9, -1]),
        element("q_positions", 2, -1, allowed)
    );
}

/// Small operands need `COPY_SRC` only; the values are those at the time of the first poll.
#[test]
fn a_buffer_that_no_shader_may_read() {
    let gpu = gpu();
    let plan = plan(|p| p.mask.kv_lens = Lengths::Device);
    let [input, lse] = [864, 96].map(|bytes| buffer(&gpu.device, &vec![0; bytes]));
    let o = buffer(&gpu.device, &[0; 864]);
    let lens = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 12,
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let big = buffer(&gpu.device, &[0; 3 * 2 * 9 * 8 * 4]);
    let operands = Operands::new(&input, &big, &big, &o, &lse).with(Role::KvLens, &lens);
    let call = pollster::block_on(gpu.attention.prepare(&plan, &operands)).expect("a call");
    let answer = call.check(&gpu.queue);
    drop(call);
    gpu.queue
        .write_buffer(&lens, 0, bytemuck::cast_slice(&[9u32, 9, 12]));
    assert_eq!(
        pollster::block_on(answer),
        element("kv_lens", 2, 12, "0 to kv_len = 9")
    );
}

#[test]
fn dropped_half_way_and_on_a_lost_device() {
    let plan = plan(|p| p.mask.kv_lens = Lengths::Device);
    let words: &Words = &[(Role::KvLens, &[0, 1, 2])];
    let gpu = Gpu::another();
    let call = prepared(&gpu, &plan, words);
    let mut answer = Box::pin(call.check(&gpu.queue));
    let _ = answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    drop(answer);
    assert_eq!(pollster::block_on(call.check(&gpu.queue)), Ok(()));
    gpu.device.destroy();
    let lost = pollster::block_on(call.check(&gpu.queue));
    assert!(lost.is_err(), "{lost:?}");
}

/// Where sequences begin: 0 at first, rising, and none longer than the plan allows for.
#[test]
fn sequences_of_a_ragged_batch() {
    let plan = plan(|p| {
        (p.cu_seqlens_q, p.q.layout) = (
            Some(CuSeqlens::Device { total: 10 }),
            Layout::heads_first(2, 10, 8),
        );
        (p.o.layout, p.lse) = (p.q.layout, Layout::heads_first(2, 10, 1));
    });
    let check = |starts: [u32; 4]| checked(&plan, &[(Role::CuSeqlensQ, &starts)]);
    assert_eq!(check([0, 4, 4, 8]), Ok(()));
    assert_eq!(check([0, 0, 0, 0]), Ok(()));
    let allowed = "0 at first, then at least the number before it and at most q_len = 4 more, the tokens of a sequence";
    for (starts, index) in [
        ([1, 2, 3, 4], 0),
        ([0, 4, 3, 5], 2),
        ([0, 1, 6, 7], 2),
        ([0, 2, 4, 9], 3),
    ] {
        let want = element("cu_seqlens_q", index, starts[index].into(), allowed);
        assert_eq!(check(starts), want, "{starts:?}");
    }
    let beyond = "0 to 10, the number of all tokens";
    assert_eq!(check([0, 4, 8, 11]), element("cu_seqlens_q", 3, 11, beyond));
}

#[test]
fn appends() {
    let shape = Shape {
        kv_len: 9,
        ..Shape::square(3, 2, 4, 8)
    };
    let append = KvAppend::new(shape, KvAddress::Strided, Element::F32);
    let plan = gpu().attention.plan_append(&append).expect("a plan");
    let check = |lens: [u32; 3], offsets: [i32; 3]| {
        let words = signed(offsets);
        checked(&plan, &[(Role::KvLens, &lens), (Role::QOffset, &words)])
    };
    assert_eq!(check([0, 9, 3], [-3, 100, 0]), Ok(()));
    let allowed = "0 to kv_len = 9";
    assert_eq!(
        check([0, 10, 3], [0; 3]),
        element("kv_lens", 1, 10, allowed)
    );
    let most = MAX_LEN as i32;
    let allowed = format!("-{most} to {most}, the offsets that shaders tell apart");
    let want = element("q_offset", 2, i64::from(most) + 1, &allowed);
    assert_eq!(check([0; 3], [0, 0, most + 1]), want);
    // Keys that are rotated on the way in have rows in the stated range.
    let rotated = append.with_rotary(Rotary::new(8)).with_range(0..=8);
    let plan = gpu().attention.plan_append(&rotated).expect("a plan");
    let words = signed([0, 6, 5]);
    let lens = [9; 3];
    let allowed = "0 to 5, which keep every query inside of the stated range; state a wider one";
    let got = checked(&plan, &[(Role::KvLens, &lens), (Role::QOffset, &words)]);
    assert_eq!(got, element("q_offset", 1, 6, allowed));
}

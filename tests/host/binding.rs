//! What `prepare` refuses, on wgpu's device that does nothing.

use wgpu_attention::caps::Subgroups;
use wgpu_attention::problem::Lengths;
use wgpu_attention::{Attention, Call, Caps, Element, Error, Operands, Problem, Shape};
use wgpu_attention::{Host, Plan, PlanOptions, Role};

use crate::support::drawn::device::keeps_limits;

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE;

fn device() -> wgpu::Device {
    wgpu::Device::noop(&wgpu::DeviceDescriptor::default()).0
}

fn problem() -> Problem {
    Problem::new(Shape::square(2, 2, 16, 8), Element::F32)
}

fn buffer(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// Prepares the problem with k of `size` bytes and `usage`.
fn prepare(problem: &Problem, size: u64, usage: wgpu::BufferUsages) -> (Plan, Result<Call, Error>) {
    let device = device();
    let attention = Attention::new(&device);
    let plan = attention.plan(problem).expect("a plan");
    let [q, v, o] = [0; 3].map(|_| buffer(&device, 2048, STORAGE));
    let lse = buffer(&device, 256, STORAGE);
    let k = buffer(&device, size, usage);
    let call = pollster::block_on(attention.prepare(&plan, &Operands::new(&q, &k, &v, &o, &lse)));
    (plan, call)
}

#[test]
fn what_the_requirements_ask_for_is_accepted() {
    let (plan, call) = prepare(&problem(), 2048, STORAGE);
    let need = plan
        .requirements()
        .iter()
        .find(|need| need.role == Role::K)
        .expect("k");
    assert_eq!((need.bytes, need.storage), (2048, true));
    assert!(call.is_ok(), "{call:?}");
}

#[test]
fn a_buffer_too_small_is_refused() {
    let error = prepare(&problem(), 2044, STORAGE).1.expect_err("too small");
    let expected = Error::BufferSize {
        what: "k",
        actual: 2044,
        least: 2048,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_wrong_usage_is_refused() {
    let error = prepare(&problem(), 2048, wgpu::BufferUsages::UNIFORM)
        .1
        .expect_err("no storage");
    assert_eq!(
        error,
        Error::BufferUsage {
            what: "k",
            missing: "STORAGE"
        }
    );
}

#[test]
fn a_missing_operand_is_named() {
    let mut problem = problem();
    problem.mask.kv_lens = Lengths::Device;
    let error = prepare(&problem, 2048, STORAGE).1.expect_err("no lengths");
    assert_eq!(error, Error::Missing { what: "kv_lens" });
}

#[test]
fn an_operand_over_a_buffers_limit_names_the_limit() {
    let device = device();
    let problem = Problem::new(Shape::square(1, 64, 1 << 16, 64), Element::F32);
    let error = Attention::new(&device).plan(&problem).expect_err("1 GiB");
    assert!(error.to_string().contains("max_buffer_size"), "{error}");
}

#[test]
fn an_operand_over_the_binding_limit_is_cut() {
    let device = device();
    let problem = Problem::new(Shape::square(3, 8, 1 << 15, 64), Element::F32);
    let plan = Attention::new(&device).plan(&problem).expect("192 MiB");
    let text = plan.to_string();
    let cut = "q is 192.0 MiB, a binding holds 128.0 MiB: cut over batches in 2 parts";
    assert!(text.contains(cut), "{plan}");
    let too = "k is 192.0 MiB, a binding holds 128.0 MiB: in the same parts";
    assert!(text.contains(too), "{plan}");
    keeps_limits(&plan, &Caps::of(&device, None)).unwrap_or_else(|fault| panic!("{fault}\n{plan}"));
    let one = Problem::new(Shape::square(1, 8, 1 << 15, 64), Element::F32);
    let one = Attention::new(&device).plan(&one).expect("64 MiB");
    assert_eq!(plan.flops(), 3 * one.flops());
}

#[test]
fn an_output_in_an_inputs_buffer_goes_through_scratch() {
    let device = device();
    let attention = Attention::new(&device);
    let plan = attention.plan(&problem()).expect("a plan");
    let [q, k, v] = [0; 3].map(|_| buffer(&device, 2048, STORAGE));
    let lse = buffer(&device, 256, STORAGE);
    let operands = Operands::new(&q, &k, &v, &v, &lse);
    let call = pollster::block_on(attention.prepare(&plan, &operands)).expect("prepared");
    assert!(plan.scratch().is_empty() && !call.plan().scratch().is_empty());
    assert!(
        call.plan().to_string().contains("shares a buffer"),
        "{}",
        call.plan()
    );
}

#[test]
fn everything_may_go_to_another_thread() {
    fn sendable<T: Send + Sync + 'static>() {}
    sendable::<Attention>();
    sendable::<Call>();
    sendable::<Plan>();
    sendable::<Error>();
}

/// Changes what is claimed of a device.
type Claim = fn(&mut Caps);

/// Each claim past the device by its name, whatever the device has.
const CLAIMS: [(&str, Claim); 11] = [
    ("subgroups", |caps| {
        caps.subgroups = Some(Subgroups::new(8, 8));
    }),
    ("int64", |caps| caps.int64 = true),
    ("invocations_per_workgroup", |caps| {
        caps.invocations_per_workgroup += 1;
    }),
    ("workgroup_size_x", |caps| caps.workgroup_size_x += 1),
    ("workgroup_memory", |caps| caps.workgroup_memory += 1),
    ("storage_buffers", |caps| caps.storage_buffers += 1),
    ("uniform_bytes", |caps| caps.uniform_bytes += 1),
    ("binding_bytes", |caps| caps.binding_bytes += 1),
    ("buffer_bytes", |caps| caps.buffer_bytes += 1),
    ("workgroups_per_dimension", |caps| {
        caps.workgroups_per_dimension += 1;
    }),
    ("iterations", |caps| caps.iterations = None),
];

fn claimed(what: &str, error: Option<Error>) {
    match error {
        Some(Error::Claim { what: told, .. }) if told == what => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn claims_past_the_device_are_refused() {
    let device = device();
    for (what, claim) in CLAIMS {
        let mut caps = Caps::of(&device, None);
        claim(&mut caps);
        claimed(what, Attention::with_caps(&device, caps).err());
    }
    let less = Caps::of(&device, None).with_workgroup_memory(1 << 10);
    assert!(Attention::with_caps(&device, less).is_ok());
}

#[test]
fn a_plan_for_a_larger_device_is_refused() {
    let device = device();
    let attention = Attention::new(&device);
    let [q, k, v, o] = [0; 4].map(|_| buffer(&device, 2048, STORAGE));
    let lse = buffer(&device, 256, STORAGE);
    for (what, claim) in CLAIMS {
        let mut caps = attention.caps().clone();
        claim(&mut caps);
        let plan = Plan::attention(&problem(), &caps, &PlanOptions::default()).expect("a plan");
        let operands = Operands::new(&q, &k, &v, &o, &lse);
        claimed(
            what,
            pollster::block_on(attention.prepare(&plan, &operands)).err(),
        );
    }
}

/// Every role that no plain problem names, to `prepare` and to `run`.
#[test]
fn an_operand_that_the_problem_does_not_name_is_refused() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let attention = Attention::new(&device);
    let plan = attention.plan(&problem()).expect("a plan");
    let [q, k, v, o] = [0; 4].map(|_| buffer(&device, 2048, STORAGE));
    let lse = buffer(&device, 256, STORAGE);
    let bytes = [0; 2048];
    for role in [Role::Bias, Role::KvLens, Role::Sinks, Role::DO, Role::Table] {
        let unnamed = Some(Error::Unnamed {
            what: role.name(),
            task: "the problem",
        });
        let operands = Operands::new(&q, &k, &v, &o, &lse).with(role, &q);
        let prepared = pollster::block_on(attention.prepare(&plan, &operands));
        assert_eq!(prepared.err(), unnamed);
        let host = Host::new(&bytes, &bytes, &bytes).with(role, &bytes);
        let outputs = pollster::block_on(attention.run(&queue, &plan, &host));
        assert_eq!(outputs.err(), unnamed);
    }
}

/// A problem without rows needs no operand, and names its own all the same.
#[test]
fn operands_of_an_empty_problem_are_accepted() {
    let device = device();
    let attention = Attention::new(&device);
    let mut problem = Problem::new(Shape::square(1, 2, 0, 8), Element::F32);
    problem.mask.kv_lens = Lengths::Device;
    let plan = attention.plan(&problem).expect("a plan");
    assert_eq!(plan.requirements(), []);
    let [q, k, v, o, lse, lens] = [0; 6].map(|_| buffer(&device, 16, STORAGE));
    let operands = Operands::new(&q, &k, &v, &o, &lse).with(Role::KvLens, &lens);
    let call = pollster::block_on(attention.prepare(&plan, &operands));
    assert!(call.is_ok(), "{call:?}");
}

#[test]
fn two_missing_operands_are_missing_and_do_not_overlap() {
    let device = device();
    let attention = Attention::new(&device);
    let plan = attention.plan(&problem()).expect("a plan");
    let q = buffer(&device, 2048, STORAGE);
    let operands = Operands::default().with(Role::Q, &q);
    let error = pollster::block_on(attention.prepare(&plan, &operands)).err();
    assert_eq!(error, Some(Error::Missing { what: "o" }));
}

//! Handles of another device, and buffers that are destroyed or mapped, on wgpu's device that does nothing: an error
//! that names the operand, and the application's handler of errors hears nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pollster::block_on;
use wgpu_attention::problem::{Lengths, Values};
use wgpu_attention::{
    Attention, Call, Element, Error, Host, Operands, Plan, Problem, Role, Shape, download,
};

const USAGES: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

/// Two devices of one instance; both count what reaches the application.
struct Two {
    own: (wgpu::Device, wgpu::Queue),
    other: (wgpu::Device, wgpu::Queue),
    uncaught: Arc<AtomicUsize>,
}

impl Two {
    fn new() -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions {
                noop: wgpu::NoopBackendOptions {
                    enable: true,
                    ..Default::default()
                },
                ..Default::default()
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let uncaught = Arc::<AtomicUsize>::default();
        let request = || {
            let adapter = block_on(instance.request_adapter(&Default::default())).expect("noop");
            let (device, queue) =
                block_on(adapter.request_device(&Default::default())).expect("a device");
            let count = uncaught.clone();
            device.on_uncaptured_error(Arc::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            }));
            (device, queue)
        };
        Self {
            own: request(),
            other: request(),
            uncaught,
        }
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        let heard = self.uncaught.load(Ordering::Relaxed);
        assert!(
            std::thread::panicking() || heard == 0,
            "{heard} errors reached the application"
        );
    }
}

fn buffer(device: &wgpu::Device, size: u64, mapped_at_creation: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: USAGES,
        mapped_at_creation,
    })
}

/// With operands that are bound and operands that are copied.
fn plan(attention: &Attention) -> Plan {
    let mut problem = Problem::new(Shape::square(2, 2, 4, 8), Element::F32);
    problem.mask.kv_lens = Lengths::Device;
    problem.score.sinks = Some(Values::Device);
    attention.plan(&problem).expect("a plan")
}

/// Prepares with one operand that `make` makes.
fn with_one(two: &Two, role: Role, make: impl Fn(u64) -> wgpu::Buffer) -> Result<Call, Error> {
    let attention = Attention::new(&two.own.0);
    let plan = plan(&attention);
    let needs = plan.requirements().iter();
    let buffers: Vec<_> = needs
        .map(|need| match need.role == role {
            true => (need.role, make(need.bytes)),
            false => (need.role, buffer(&two.own.0, need.bytes, false)),
        })
        .collect();
    let operands = buffers
        .iter()
        .fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        });
    block_on(attention.prepare(&plan, &operands))
}

/// Bound ones, an output among them, and copied ones.
const ROLES: [Role; 4] = [Role::K, Role::O, Role::KvLens, Role::Sinks];

/// Every role is refused by its name.
fn refused(make: impl Fn(&Two, u64) -> wgpu::Buffer, says: &str) {
    for role in ROLES {
        let two = Two::new();
        match with_one(&two, role, |size| make(&two, size)).map(drop) {
            Err(Error::Buffer { what, message }) if what == role.name() => {
                assert!(message.contains(says), "{message}");
            }
            other => panic!("{role}: {other:?}"),
        }
    }
}

#[test]
fn buffers_of_another_device() {
    refused(|two, size| buffer(&two.other.0, size, false), "evice");
}

#[test]
fn destroyed_buffers() {
    let destroyed = |two: &Two, size| {
        let buffer = buffer(&two.own.0, size, false);
        buffer.destroy();
        buffer
    };
    refused(destroyed, "destroyed");
}

#[test]
fn mapped_buffers() {
    refused(|two, size| buffer(&two.own.0, size, true), "mapped");
}

/// What is unmapped again is as good as any other.
#[test]
fn a_buffer_that_was_mapped() {
    let two = Two::new();
    let unmapped = |size| {
        let buffer = buffer(&two.own.0, size, true);
        buffer.unmap();
        buffer
    };
    for role in ROLES {
        let call = with_one(&two, role, unmapped);
        assert!(call.is_ok(), "{role}: {call:?}");
    }
}

#[test]
fn a_queue_of_another_device() {
    let two = Two::new();
    let attention = Attention::new(&two.own.0);
    let problem = Problem::new(Shape::square(1, 1, 4, 8), Element::F32);
    let plan = attention.plan(&problem).expect("a plan");
    let bytes = [0; 128];
    let host = Host::new(&bytes, &bytes, &bytes);
    let outputs = block_on(attention.run(&two.other.1, &plan, &host));
    assert_eq!(outputs, Err(Error::ForeignQueue));
    let own = buffer(&two.own.0, 64, false);
    let bytes = block_on(download(&two.own.0, &two.other.1, &own));
    assert_eq!(bytes, Err(Error::ForeignQueue));
    let mut problem = problem;
    problem.mask.kv_lens = Lengths::Device;
    let plan = attention.plan(&problem).expect("a plan");
    let own = [128, 128, 128, 128, 16, 4].map(|size| buffer(&two.own.0, size, false));
    let [q, k, v, o, lse, lens] = &own;
    let operands = Operands::new(q, k, v, o, lse).with(Role::KvLens, lens);
    let call = block_on(attention.prepare(&plan, &operands)).expect("a call");
    assert_eq!(block_on(call.check(&two.other.1)), Err(Error::ForeignQueue));
    let host = host.with(Role::KvLens, &[0; 4]);
    let outputs = block_on(attention.run(&two.own.1, &plan, &host));
    assert!(outputs.is_ok(), "{outputs:?}");
    // The device that does nothing finds the zeros of a buffer that no kernel wrote.
    let zeros = block_on(call.check(&two.own.1));
    assert!(
        matches!(
            zeros,
            Err(Error::Element {
                what: "kv_lens",
                ..
            })
        ),
        "{zeros:?}"
    );
}

/// Whoever else polls, the device's own queue is never taken for another's.
#[test]
fn the_own_queue_beside_others_who_poll() {
    let two = Two::new();
    let (device, queue) = &two.own;
    let (own, done) = (buffer(device, 64, false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = device.poll(wgpu::PollType::Poll);
                }
            });
        }
        let bytes: Vec<_> = (0..200)
            .map(|_| block_on(download(device, queue, &own)))
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(bytes.iter().all(Result::is_ok), "{bytes:?}");
    });
}

#[test]
fn a_download_of_what_cannot_be_copied() {
    let two = Two::new();
    let (device, queue) = &two.own;
    let down = |buffer: &wgpu::Buffer| block_on(download(device, queue, buffer));
    let foreign = down(&buffer(&two.other.0, 64, false));
    assert!(matches!(foreign, Err(Error::Device { .. })), "{foreign:?}");
    let mapped = down(&buffer(device, 64, true));
    assert!(matches!(mapped, Err(Error::Buffer { .. })), "{mapped:?}");
}

//! A device without memory, which is wgpu's device that does nothing in a process of little: an error that tells how much
//! was needed, and the device works on. That device itself takes a buffer's bytes twice for a moment and aborts where only
//! the second are not there, so what is refused here is more than all of the room.

#![cfg(target_os = "linux")]

use std::process::Command;

use pollster::block_on;
use wgpu_attention::{
    Attention, CacheKind, Element, Error, KvCacheOptions, Operands, Plan, Problem, Role, Shape,
};

/// KiB of addresses.
const ROOM: u32 = 1 << 20;
const SMALL: &str = "WGPU_ATTENTION_SMALL_ROOM";

/// A process of its own, for a limit holds of all.
#[test]
fn no_memory() {
    let own = std::env::current_exe().expect("this suite");
    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -v {ROOM} && exec \"$0\" \"$@\"")])
        .arg(own)
        .args(["--exact", "memory::in_a_small_room", "--nocapture"])
        .env(SMALL, "1")
        .status()
        .expect("a shell");
    assert!(status.success(), "{status}");
}

#[test]
fn in_a_small_room() {
    if std::env::var_os(SMALL).is_none() {
        return;
    }
    let (device, _queue) = roomy();
    let attention = Attention::new(&device);
    a_cache(&attention);
    // The device works on.
    let small = Problem::new(Shape::square(1, 1, 8, 8), Element::F32);
    let plan = attention.plan(&small).expect("a plan");
    let operands = operands(&device, &plan);
    assert_eq!(prepare(&attention, &plan, &operands), Ok(()));
}

/// A device that promises more than there is.
fn roomy() -> (wgpu::Device, wgpu::Queue) {
    let limits = wgpu::Limits {
        max_buffer_size: u32::MAX.into(),
        max_storage_buffer_binding_size: 1 << 31,
        ..wgpu::Limits::default()
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions {
            noop: wgpu::NoopBackendOptions {
                enable: true,
                limits: Some(limits.clone()),
                ..Default::default()
            },
            ..Default::default()
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = block_on(instance.request_adapter(&Default::default())).expect("noop");
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    block_on(adapter.request_device(&descriptor)).expect("a device")
}

fn refused<T>(answer: Result<T, Error>, least: u64) {
    match answer.map(drop) {
        Err(Error::OutOfMemory { bytes, way_out, .. }) => {
            assert!(bytes >= least, "{bytes} of {least}");
            assert!(!way_out.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

fn a_cache(attention: &Attention) {
    let options = KvCacheOptions::new(CacheKind::Contiguous { capacity: 1 << 20 }, 8, 64);
    let bytes = options.bytes().expect("sizes");
    assert!(bytes > u64::from(ROOM) << 10, "{bytes}");
    refused(block_on(attention.kv_cache(&options)), bytes);
    assert_eq!(attention.held().caches, 0);
}

fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: size.max(4),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

type Bound = Vec<(Role, wgpu::Buffer)>;

fn operands(device: &wgpu::Device, plan: &Plan) -> Bound {
    let needs = plan.requirements().iter();
    needs
        .map(|need| (need.role, buffer(device, need.bytes)))
        .collect()
}

fn prepare(attention: &Attention, plan: &Plan, operands: &Bound) -> Result<(), Error> {
    let operands = operands.iter();
    let operands = operands.fold(Operands::default(), |all, (role, buffer)| {
        all.with(*role, buffer)
    });
    block_on(attention.prepare(plan, &operands)).map(drop)
}

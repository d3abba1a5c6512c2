//! The one adapter and device that all tests share.

use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wgpu_attention::{Attention, Caps, wanted};

/// A device with all that attention wants.
pub struct Gpu {
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub attention: Attention,
}

/// The device of this process.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let adapter = adapter();
        let (features, limits) = wanted(&adapter);
        let gpu = Gpu::request(adapter, features, limits);
        let info = gpu.adapter.get_info();
        say(&format!(
            "on {} ({} {}): {:?}",
            info.name,
            info.driver,
            info.driver_info,
            gpu.attention.caps()
        ));
        gpu
    })
}

impl Gpu {
    pub fn request(adapter: wgpu::Adapter, features: wgpu::Features, limits: wgpu::Limits) -> Self {
        crate::compile::spans::listen();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: limits,
            ..Default::default()
        }))
        .expect("a device of the adapter");
        let attention = Attention::with_adapter(&adapter, &device);
        Self {
            adapter,
            device,
            queue,
            attention,
        }
    }

    /// Another device of its own, for tests that destroy theirs.
    pub fn another() -> Self {
        let (features, limits) = wanted(&gpu().adapter);
        Self::request(adapter(), features, limits)
    }

    /// What a device requested without any wish can do.
    pub fn least() -> Self {
        Self::request(adapter(), wgpu::Features::empty(), wgpu::Limits::default())
    }

    /// Another device of an instance of its own, whose report counts what this device alone has made.
    pub fn alone() -> (wgpu::Instance, Self) {
        let instance = instance();
        let adapter = adapter_of(&instance);
        let (features, limits) = wanted(&adapter);
        (instance, Self::request(adapter, features, limits))
    }

    /// The same device, taken for one whose subgroups vary in width: source lanes are then computed.
    pub fn of_varying_width(&self) -> Attention {
        let mut caps: Caps = self.attention.caps().clone();
        if let Some(subgroups) = &mut caps.subgroups {
            subgroups.max = 2 * subgroups.min;
        }
        Attention::with_caps(&self.device, caps).expect("caps of the device")
    }
}

/// The adapter that the environment names, else the first one.
fn adapter() -> wgpu::Adapter {
    adapter_of(&instance())
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle())
}

fn adapter_of(instance: &wgpu::Instance) -> wgpu::Adapter {
    let wanted = std::env::var("WGPU_ATTENTION_ADAPTER").unwrap_or_default();
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let names: Vec<String> = adapters
        .iter()
        .map(wgpu::Adapter::get_info)
        .map(|info| format!("{} ({} {})", info.name, info.driver, info.driver_info))
        .collect();
    let found = names.iter().position(|name| name.contains(&wanted));
    let Some(found) = found else {
        panic!(
            "no adapter with {wanted:?} in its name; there are {names:?}. \
             `cargo xtask test` makes sure of one (a software driver will do)"
        );
    };
    adapters.into_iter().nth(found).expect("one adapter a name")
}

/// True when only a part of the suite is to run.
pub fn is_part() -> bool {
    std::env::var_os("WGPU_ATTENTION_PART").is_some_and(|value| value == "1")
}

/// True, and said, when `what` is left out of a part of the suite.
pub fn left_out(what: &str) -> bool {
    if is_part() {
        say(&format!("WGPU_ATTENTION_PART=1 leaves out: {what}"));
    }
    is_part()
}

/// How far a long test is, said now and then: to the harness it is one test.
pub struct Pace {
    what: &'static str,
    of: usize,
    last: Instant,
}

impl Pace {
    const SILENCE: Duration = Duration::from_secs(20);

    pub fn new(what: &'static str, of: usize) -> Self {
        let last = Instant::now();
        Self { what, of, last }
    }

    pub fn at(&mut self, number: usize) {
        if self.last.elapsed() >= Self::SILENCE {
            self.last = Instant::now();
            say(&format!("{}: at {number} of {}", self.what, self.of));
        }
    }
}

/// Past the harness, which swallows what a passing test prints.
pub fn say(message: &str) {
    // In one piece, so that no other line comes between.
    let _ = std::io::stderr().write_all(format!("\n{message}\n").as_bytes());
}

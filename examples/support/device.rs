//! The adapter and the device that an example runs on.

use anyhow::{Context, Result};
use wgpu_attention::{Attention, wanted};

/// An adapter with everything opened on it.
pub struct Gpu {
    pub info: wgpu::AdapterInfo,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub attention: Attention,
}

impl Gpu {
    /// Opens a device with what the library wants of the adapter.
    pub fn open(adapter: &wgpu::Adapter) -> Result<Self> {
        let info = adapter.get_info();
        let (required_features, required_limits) = wanted(adapter);
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            required_features,
            required_limits,
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request)
            .with_context(|| format!("{} gives no device; choose another adapter", info.name))?;
        let attention = Attention::with_adapter(adapter, &device);
        Ok(Self {
            info,
            device,
            queue,
            attention,
        })
    }
}

/// Every adapter of the machine's native interfaces, what is likely the fastest first.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// What to say on a machine without any adapter.
pub const NO_ADAPTER: &str = "no GPU adapter was found; install a Vulkan driver \
     (mesa-vulkan-drivers on Debian and Ubuntu has one that needs no GPU)";

//! The device and the few wgpu calls that every measurement needs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use wgpu::{Buffer, BufferUsages, CommandEncoder, ComputePipeline, PollType};
use wgpu_attention::Attention;

/// An adapter with a device of it.
pub struct Gpu {
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// One for all rows, as in an application: a variant is compiled once.
    pub attention: Attention,
}

impl Gpu {
    /// Opens the adapter whose name contains `name` (in any case), or the fastest one that is there.
    pub async fn open(name: Option<&str>) -> Result<Self> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = match name {
            Some(name) => named_adapter(&instance, name).await?,
            None => instance
                .request_adapter(&wgpu::RequestAdapterOptions {
                    power_preference: wgpu::PowerPreference::HighPerformance,
                    ..Default::default()
                })
                .await
                .context(
                    "there is no adapter; install a Vulkan driver (Mesa has one in software)",
                )?,
        };
        let (features, limits) = wgpu_attention::wanted(&adapter);
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("roofline"),
                required_features: features,
                required_limits: limits,
                ..Default::default()
            })
            .await?;
        Ok(Self {
            attention: Attention::with_adapter(&adapter, &device),
            adapter,
            device,
            queue,
        })
    }

    /// Name and driver, as they stand in the report.
    pub fn name(&self) -> String {
        let info = self.adapter.get_info();
        format!("{} ({} {})", info.name, info.driver, info.driver_info)
    }

    /// The largest operand that one binding may cover, in bytes.
    pub fn max_binding(&self) -> u64 {
        self.device.limits().max_storage_buffer_binding_size
    }

    /// A storage buffer of `bytes` bytes that can be filled, copied and read back.
    pub fn buffer(&self, label: &str, bytes: u64) -> Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A buffer that holds `bytes`.
    pub fn upload(&self, label: &str, bytes: &[u8]) -> Buffer {
        let buffer = self.buffer(label, bytes.len() as u64);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    /// The bytes of `buffer`, after everything submitted so far.
    pub fn download(&self, buffer: &Buffer) -> Result<Vec<u8>> {
        let bytes = wgpu_attention::download(&self.device, &self.queue, buffer);
        Ok(pollster::block_on(bytes)?)
    }

    /// Compiles the one entry point of `wgsl`, with values for its `override` constants.
    pub fn pipeline(
        &self,
        label: &str,
        wgsl: &str,
        constants: &[(&str, f64)],
    ) -> Result<ComputePipeline> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl(wgsl.into()),
            });
        let pipeline = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(anyhow!("{label}: {error}")),
            None => Ok(pipeline),
        }
    }

    /// Bindings 0, 1, … of group 0.
    pub fn bind(
        &self,
        pipeline: &ComputePipeline,
        resources: &[wgpu::BindingResource],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry {
                binding,
                resource: resource.clone(),
            })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    pub fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// The time from the submit of what `encode` records to its completion.
    pub fn time(&self, encode: impl FnOnce(&mut CommandEncoder)) -> Result<Duration> {
        let mut encoder = self.encoder();
        encode(&mut encoder);
        let commands = encoder.finish();
        let start = Instant::now();
        self.queue.submit([commands]);
        self.wait()?;
        Ok(start.elapsed())
    }

    fn wait(&self) -> Result<()> {
        self.device.poll(PollType::wait_indefinitely())?;
        Ok(())
    }
}

async fn named_adapter(instance: &wgpu::Instance, name: &str) -> Result<wgpu::Adapter> {
    let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    let names: Vec<_> = adapters.iter().map(|a| a.get_info().name).collect();
    let wanted = name.to_lowercase();
    match adapters
        .into_iter()
        .find(|a| a.get_info().name.to_lowercase().contains(&wanted))
    {
        Some(adapter) => Ok(adapter),
        None => bail!(
            "no adapter's name contains '{name}'; there are: {}",
            names.join(", ")
        ),
    }
}

/// Records one dispatch.
pub fn dispatch(
    encoder: &mut CommandEncoder,
    pipeline: &ComputePipeline,
    bindings: &wgpu::BindGroup,
    grid: [u32; 3],
) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, bindings, &[]);
    pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
}

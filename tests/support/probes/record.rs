//! A probe on a device.

use wgpu::util::DeviceExt;

use super::Probe;

impl Probe {
    /// The commands that answer it, and the buffer in which the answer will lie.
    pub fn record(&self, device: &wgpu::Device) -> (wgpu::CommandBuffer, wgpu::Buffer) {
        let (input, output) = (
            storage(device, &self.input),
            storage(device, &self.unknown()),
        );
        let pipeline = self.compile(device);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[entry(0, &input), entry(1, &output)],
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(self.workgroups(), 1, 1);
        drop(pass);
        (encoder.finish(), output)
    }

    fn compile(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(self.name),
            source: wgpu::ShaderSource::Wgsl(self.wgsl.as_str().into()),
        });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        })
    }

    /// What the answer's buffer holds before.
    fn unknown(&self) -> Vec<u32> {
        vec![0xabab_abab; self.want.len()]
    }
}

fn entry(binding: u32, buffer: &wgpu::Buffer) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry {
        binding,
        resource: buffer.as_entire_binding(),
    }
}

fn storage(device: &wgpu::Device, words: &[u32]) -> wgpu::Buffer {
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(words),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    })
}

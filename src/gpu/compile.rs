//! From a kernel's key to a pipeline.

use crate::error::Result;
use crate::kernel::{Params, Variant};
use crate::problem::ModText;
use crate::shader::{Access, Bind, Group};

use super::buffers::scoped;

/// A compiled variant.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub binds: Vec<Bind>,
    pub groups: Vec<&'static Group>,
}

impl Pipeline {
    /// Bytes of its parameters.
    pub fn parameter_bytes(&self) -> u64 {
        Params::default().bytes(&self.groups).len() as u64
    }
}

/// Composes and compiles, with what the driver has compiled before where it keeps that.
pub(super) async fn compile(
    device: &wgpu::Device,
    variant: &Variant,
    mods: Option<&ModText>,
    cache: Option<&wgpu::PipelineCache>,
) -> Result<Pipeline> {
    let name = variant.to_string();
    let span = tracing::debug_span!("compile", variant = %name);
    let shader = span.in_scope(|| {
        let shader = variant.compose(mods)?;
        shader.validate(variant.needs())?;
        Ok(shader)
    })?;
    scoped(device, &name, || {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&name),
            source: wgpu::ShaderSource::Wgsl(shader.wgsl().into()),
        });
        let layout = layout(device, shader.binds(), &name);
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its tiles before it reads them; zeroing costs seconds of compiling (SwiftShader).
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache,
        });
        Pipeline {
            pipeline,
            layout,
            binds: shader.binds().to_vec(),
            groups: shader.groups().to_vec(),
        }
    })
    .await
}

/// What the shader binds.
fn layout(device: &wgpu::Device, binds: &[Bind], name: &str) -> wgpu::BindGroupLayout {
    let entry = |bind: &Bind| wgpu::BindGroupLayoutEntry {
        binding: bind.number,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match bind.access {
                Access::Uniform => wgpu::BufferBindingType::Uniform,
                Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
            },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = binds.iter().map(entry).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(name),
        entries: &entries,
    })
}

//! The cache of compiled pipelines by variant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::plan::{Step, Variant};
use crate::problem::ModText;
use crate::shader;

/// A variant and the text of the user's functions that it calls: texts are compared whole, not by a hash.
type Key = (Variant, Option<ModText>);

/// A compiled variant.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Compiles each variant once.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    compiled: Mutex<HashMap<Key, Arc<Kernel>>>,
}

impl Kernels {
    /// Variants compiled so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// The pipeline of a step's variant with the user's functions of its plan.
    pub async fn get(
        &self,
        device: &wgpu::Device,
        step: &Step,
        mods: Option<&ModText>,
    ) -> Result<Arc<Kernel>> {
        let mods = mods.filter(|_| step.variant.uses_mods());
        let key = (step.variant, mods.cloned());
        if let Some(kernel) = self.lock().get(&key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(compile(device, step, mods).await?);
        Ok(self.lock().entry(key).or_insert(kernel).clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Kernel>>> {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn compile(device: &wgpu::Device, step: &Step, mods: Option<&ModText>) -> Result<Kernel> {
    let variant = &step.variant;
    let name = variant.to_string();
    let span = tracing::debug_span!("compile", variant = %name);
    let shader = span.in_scope(|| {
        let shader = shader::compose_with(variant, mods)?;
        shader.validate(variant)?;
        Ok(shader)
    })?;
    scoped(device, &name, || {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&name),
            source: wgpu::ShaderSource::Wgsl(shader.wgsl().into()),
        });
        let layout = layout(device, step, &name);
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
            cache: None,
        });
        Kernel { pipeline, layout }
    })
    .await
}

/// One uniform and the step's storage bindings.
fn layout(device: &wgpu::Device, step: &Step, name: &str) -> wgpu::BindGroupLayout {
    let entry = |binding: u32, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let storage = step.bindings.iter().zip(1..).map(|(binding, n)| {
        entry(
            n,
            wgpu::BufferBindingType::Storage {
                read_only: !binding.writable,
            },
        )
    });
    let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform))
        .chain(storage)
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(name),
        entries: &entries,
    })
}

/// Runs `make` with every error it causes on the device turned into ours.
pub(crate) async fn scoped<T>(
    device: &wgpu::Device,
    what: &str,
    make: impl FnOnce() -> T,
) -> Result<T> {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let made = make();
    // Popped at once, so that nothing of the caller's own falls in; the answers may come later.
    let (internal, memory, validation) = (internal.pop(), memory.pop(), validation.pop());
    let errors = [internal.await, memory.await, validation.await];
    if let Some(error) = errors.into_iter().flatten().next() {
        return Err(Error::Device {
            what: what.to_string(),
            message: error.to_string(),
        });
    }
    Ok(made)
}

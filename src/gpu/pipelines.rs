//! The cache of compiled pipelines by variant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::kernel::Variant;
use crate::plan::{OFFSET_ALIGNMENT, Slot, Step};
use crate::problem::ModText;
use crate::shader::{Access, Bind, Group};

use super::buffers::scoped;

/// A variant and the text of the user's functions that it calls: texts are compared whole, not by a hash.
type Key = (Variant, Option<ModText>);

/// A compiled variant.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub binds: Vec<Bind>,
    pub groups: Vec<&'static Group>,
}

/// Pipelines kept, at most: many times what a model takes, and some 100 MB where a driver needs the most for each.
pub(super) const MOST_KEPT: usize = 256;

/// Compiles each variant once, and keeps those that were used last.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    compiled: HashMap<Key, Kept>,
    /// Uses so far.
    uses: u64,
}

/// A pipeline and the number of its last use.
#[derive(Debug)]
struct Kept {
    pipeline: Arc<Pipeline>,
    used: u64,
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<Pipeline>> {
        self.uses += 1;
        let kept = self.compiled.get_mut(key)?;
        kept.used = self.uses;
        Some(kept.pipeline.clone())
    }

    /// Keeps it, unless another thread was first; then that one's.
    fn insert(&mut self, key: Key, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        if let Some(first) = self.get(&key) {
            return first;
        }
        if self.compiled.len() >= MOST_KEPT {
            let oldest = self.compiled.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.compiled.remove(&oldest);
            }
        }
        let used = self.uses;
        let kept = pipeline.clone();
        self.compiled.insert(key, Kept { pipeline, used });
        kept
    }
}

impl Pipelines {
    /// Variants that are kept.
    pub fn len(&self) -> usize {
        self.lock().compiled.len()
    }

    /// Frees those that no call holds.
    pub fn trim(&self) {
        let mut cache = self.lock();
        cache
            .compiled
            .retain(|_, kept| Arc::strong_count(&kept.pipeline) > 1);
    }

    /// The pipeline of a step's variant with the user's functions of its plan.
    pub async fn get(
        &self,
        device: &wgpu::Device,
        step: &Step,
        mods: Option<&ModText>,
    ) -> Result<Arc<Pipeline>> {
        let mods = mods.filter(|_| step.variant.uses_mods());
        let key = (step.variant, mods.cloned());
        if let Some(known) = self.lock().get(&key) {
            return Ok(known);
        }
        let pipeline = Arc::new(compile(device, step, mods).await?);
        Ok(self.lock().insert(key, pipeline))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // It is whole at every moment, so a panic elsewhere leaves it whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn compile(device: &wgpu::Device, step: &Step, mods: Option<&ModText>) -> Result<Pipeline> {
    let variant = &step.variant;
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
            cache: None,
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

/// Binds a step by the names of its shader: its own tensors, the small operands, the table and the parameters.
pub(super) fn bind_step<'a>(
    device: &wgpu::Device,
    pipeline: &Pipeline,
    step: &Step,
    params: wgpu::BufferBinding<'_>,
    buffer_of: impl Fn(Slot) -> Result<&'a wgpu::Buffer>,
) -> Result<wgpu::BindGroup> {
    let mut entries = vec![];
    for bind in &pipeline.binds {
        let resource = match bind.name.as_str() {
            "params" => params.clone(),
            name => part(name, step, &buffer_of)?,
        };
        entries.push(wgpu::BindGroupEntry {
            binding: bind.number,
            resource: wgpu::BindingResource::Buffer(resource),
        });
    }
    let is_bound = |name: &str| pipeline.binds.iter().any(|bind| bind.name == name);
    if let Some((name, _)) = step.bindings.iter().find(|(name, _)| !is_bound(name)) {
        let message = format!("does not bind {name}, which its step gives");
        return Err(Error::compose(step.variant.entry(), 0, message));
    }
    Ok(device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("attention"),
        layout: &pipeline.layout,
        entries: &entries,
    }))
}

/// What stands behind a name.
fn part<'a>(
    name: &str,
    step: &Step,
    buffer_of: impl Fn(Slot) -> Result<&'a wgpu::Buffer>,
) -> Result<wgpu::BufferBinding<'a>> {
    let given = step.bindings.iter().find(|(given, _)| *given == name);
    let (slot, offset, size) = match (given, name) {
        (Some((_, binding)), _) => (binding.slot, binding.offset, binding.size),
        (None, "aux") => (Slot::Aux, 0, 0),
        (None, "table") => (Slot::Table, 0, 0),
        (None, _) => {
            let message = format!("binds {name}, which its step does not give");
            return Err(Error::compose(step.variant.entry(), 0, message));
        }
    };
    Ok(wgpu::BufferBinding {
        buffer: buffer_of(slot)?,
        offset,
        size: wgpu::BufferSize::new(size),
    })
}

/// The parameters of steps, each as its shader reads them, as they lie in one buffer.
pub(super) struct Parameters {
    pub bytes: Vec<u8>,
    /// Offset and bytes of each step's.
    parts: Vec<(u64, u64)>,
}

impl Parameters {
    pub fn new(steps: &[Step], pipelines: &[Arc<Pipeline>]) -> Self {
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        for (step, pipeline) in steps.iter().zip(pipelines) {
            bytes.resize(bytes.len().next_multiple_of(OFFSET_ALIGNMENT as usize), 0);
            let own = step.params.bytes(&pipeline.groups);
            parts.push((bytes.len() as u64, own.len() as u64));
            bytes.extend(own);
        }
        Self { bytes, parts }
    }

    /// Those of step `n`, in the buffer that holds all.
    pub fn of<'a>(&self, n: usize, buffer: &'a wgpu::Buffer) -> wgpu::BufferBinding<'a> {
        let (offset, size) = self.parts[n];
        wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }
    }
}

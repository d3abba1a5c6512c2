//! What a step binds: tensors by the names of its shader, and its parameters.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{OFFSET_ALIGNMENT, Slot, Step};

use super::compile::Pipeline;

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

//! Values that live in GPU buffers: looked at on the GPU, answered by a future.

use std::future::Future;
use std::sync::Arc;

use crate::call::{Call, filled};
use crate::error::Result;
use crate::kernels::{Kernel, Kernels, scoped};
use crate::plan::{Check, OFFSET_ALIGNMENT, Step};
use crate::stage::download;

impl Call {
    /// Checks the values that only the device knows: `kv_lens` against Nk, offsets and positions against what shaders
    /// tell apart and the stated range of the rotary table, slopes, sinks and T5's table for finite numbers, and a backward call's lse for
    /// NaN (what was never written may be any other number). The error
    /// is the one that the host would give for the same values: operand, index, actual and allowed.
    ///
    /// A call need not be checked to be safe: what is out of range is clamped in the shader, and gives a wrong row.
    /// The values are those after all that was submitted before the future's first poll. Like [`download`] it never
    /// blocks, and borrows neither the call nor the queue; [`Call::encode`] is neither needed nor disturbed.
    pub fn check(&self, queue: &wgpu::Queue) -> impl Future<Output = Result<()>> + use<> {
        let (device, queue) = (self.device.clone(), queue.clone());
        let (kernels, checked) = (self.kernels.clone(), self.checked.clone());
        async move { answer(&device, &queue, &kernels, &checked).await }
    }
}

/// A check and the buffer of its operand.
pub(crate) type Checked = (Check, wgpu::Buffer);

async fn answer(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    kernels: &Arc<Kernels>,
    checked: &[Checked],
) -> Result<()> {
    let most = device.limits().max_compute_workgroups_per_dimension;
    let steps: Vec<Step> = checked.iter().map(|(check, _)| check.step(most)).collect();
    let Some(first) = steps.first() else {
        return Ok(());
    };
    let kernel = kernels.get(device, first, None).await?;
    let found = scoped(device, "checking operands", || {
        look(device, queue, &kernel, checked, &steps)
    })
    .await?;
    let found = download(device, queue, &found).await?;
    let mut left = found.as_slice();
    for (check, _) in checked {
        let (runs, rest) = left.split_at(check.found_bytes() as usize);
        refuse_first(check, runs)?;
        left = &rest[padding(runs.len() as u64) as usize..];
    }
    Ok(())
}

/// The first run that found something decides.
fn refuse_first(check: &Check, runs: &[u8]) -> Result<()> {
    const NOT_FOUND: u32 = u32::MAX;
    let runs: Vec<[u32; 2]> = bytemuck::pod_collect_to_vec(runs);
    match runs.iter().find(|[index, _]| *index != NOT_FOUND) {
        Some(&[index, word]) => Err(check.refuse(index, word)),
        None => Ok(()),
    }
}

/// Bytes from the end of one check's answer to the next one's.
fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(OFFSET_ALIGNMENT) - bytes
}

/// Submits every check; answers the buffer of what they find.
fn look(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    kernel: &Kernel,
    checked: &[Checked],
    steps: &[Step],
) -> wgpu::Buffer {
    let bytes = |check: &Check| check.found_bytes() + padding(check.found_bytes());
    let found = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("refused values"),
        size: checked.iter().map(|(check, _)| bytes(check)).sum(),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut at = 0;
    for ((check, operand), step) in checked.iter().zip(steps) {
        let words = readable(device, &mut encoder, operand, u64::from(check.words) * 4);
        let group = bind(device, kernel, check, step, &words, &found, at);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("check"),
            timestamp_writes: None,
        });
        pass.set_pipeline(&kernel.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
        at += bytes(check);
    }
    queue.submit([encoder.finish()]);
    found
}

/// The operand itself, or a copy where a shader may not read it: the small ones need not be storage.
fn readable(
    device: &wgpu::Device,
    encoder: &mut wgpu::CommandEncoder,
    operand: &wgpu::Buffer,
    bytes: u64,
) -> wgpu::Buffer {
    if operand.usage().contains(wgpu::BufferUsages::STORAGE) {
        return operand.clone();
    }
    let words = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("values to check"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(operand, 0, &words, 0, bytes);
    words
}

fn bind(
    device: &wgpu::Device,
    kernel: &Kernel,
    check: &Check,
    step: &Step,
    words: &wgpu::Buffer,
    found: &wgpu::Buffer,
    at: u64,
) -> wgpu::BindGroup {
    let params = filled(
        device,
        "parameters",
        wgpu::BufferUsages::UNIFORM,
        bytemuck::bytes_of(&step.params),
    );
    let rule = filled(
        device,
        "rule",
        wgpu::BufferUsages::STORAGE,
        bytemuck::cast_slice(&check.allowed.rule()),
    );
    let entry = |binding, buffer, offset, size| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    };
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("check"),
        layout: &kernel.layout,
        entries: &[
            entry(0, &params, 0, params.size()),
            entry(1, words, 0, u64::from(check.words) * 4),
            entry(2, found, at, check.found_bytes()),
            entry(3, &rule, 0, rule.size()),
        ],
    })
}

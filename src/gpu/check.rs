//! Values that live in GPU buffers: looked at on the GPU, answered by a future.

use std::future::Future;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{Check, OFFSET_ALIGNMENT, Slot, Step};

use super::binding::{Parameters, bind_step};
use super::buffers::{filled, scoped};
use super::call::{Call, Checked};
use super::compile::Pipeline;
use super::download::download;
use super::handles::check_queue;

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
        let (shared, checked) = (self.shared.clone(), self.checked.clone());
        let pipeline = self.check_pipeline.clone();
        async move {
            check_queue(&device, &queue)?;
            let answer = answer(&device, &queue, pipeline, &checked).await;
            shared.liveness.check(&device)?;
            answer
        }
    }
}

async fn answer(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    pipeline: Option<Arc<Pipeline>>,
    checked: &[Checked],
) -> Result<()> {
    let most = device.limits().max_compute_workgroups_per_dimension;
    let steps: Vec<Step> = checked.iter().map(|(check, _)| check.step(most)).collect();
    let Some(pipeline) = pipeline else {
        return Ok(());
    };
    let found = scoped(device, "checking operands", || {
        look(device, queue, &pipeline, checked, &steps)
    })
    .await??;
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
    pipeline: &Arc<Pipeline>,
    checked: &[Checked],
    steps: &[Step],
) -> Result<wgpu::Buffer> {
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
        let group = bind(device, pipeline, (check, step), &words, &found, at)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("check"),
            timestamp_writes: None,
        });
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
        at += bytes(check);
    }
    queue.submit([encoder.finish()]);
    Ok(found)
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

/// The words, what is found from byte `at` on, and the rule.
fn bind(
    device: &wgpu::Device,
    pipeline: &Arc<Pipeline>,
    (check, step): (&Check, &Step),
    words: &wgpu::Buffer,
    found: &wgpu::Buffer,
    at: u64,
) -> Result<wgpu::BindGroup> {
    let rule = filled(
        device,
        "rule",
        wgpu::BufferUsages::STORAGE,
        bytemuck::cast_slice(&check.allowed.rule()),
    );
    let mut step = step.clone();
    for (name, binding) in &mut step.bindings {
        if *name == "found" {
            binding.offset = at;
        }
    }
    let params = Parameters::new(std::slice::from_ref(&step), std::slice::from_ref(pipeline));
    let buffer = filled(
        device,
        "parameters",
        wgpu::BufferUsages::UNIFORM,
        &params.bytes,
    );
    bind_step(
        device,
        pipeline,
        &step,
        params.of(0, &buffer),
        |slot| match slot {
            Slot::Operand(_) => Ok(words),
            Slot::Scratch(_) => Ok(found),
            Slot::Aux => Ok(&rule),
            Slot::Table => Err(Error::Missing {
                what: "the rotary table",
            }),
        },
    )
}

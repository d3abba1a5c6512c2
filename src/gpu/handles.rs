//! Handles that are not of the device, and buffers that nothing may be done with: as far as wgpu can tell.

use crate::error::{Error, Result};
use crate::plan::{AuxCopy, Plan, Requirement};

use super::buffers::scoped;
use super::operands::Operands;

/// Refuses a queue of another device.
///
/// wgpu names no queue's device. But what waits for a queue's work is called when that device is polled, so an idle
/// device's poll calls what was given to its own queue, and nothing else. Of a busy device nothing is learned.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn check_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<()> {
    use std::sync::{Arc, OnceLock};
    // Another thread that polls may have taken one callback away, so one is no proof. Beside two threads that did nothing else, on
    // two busy cores, three of four were taken: 16 rounds erred once in 70 times.
    const ROUNDS: usize = 256;
    let own = std::thread::current().id();
    for _ in 0..ROUNDS {
        let caller = Arc::new(OnceLock::new());
        let tell = caller.clone();
        queue.on_submitted_work_done(move || {
            let _ = tell.set(std::thread::current().id());
        });
        let polled = device.poll(wgpu::PollType::Poll);
        match caller.get() {
            Some(caller) if *caller == own => return Ok(()),
            None if !matches!(polled, Ok(wgpu::PollStatus::QueueEmpty)) => return Ok(()),
            // Called by another thread, of whichever device: once more.
            Some(_) | None => {}
        }
    }
    Err(Error::ForeignQueue)
}

/// On the web a queue is not told from another.
#[cfg(target_arch = "wasm32")]
pub(super) fn check_queue(_device: &wgpu::Device, _queue: &wgpu::Queue) -> Result<()> {
    Ok(())
}

/// Records copies and forgets them: what the caller's encoder would find out is found out here.
pub(super) fn rehearse(
    device: &wgpu::Device,
    copies: &[(wgpu::Buffer, AuxCopy)],
    aux: &wgpu::Buffer,
) {
    if copies.is_empty() {
        return;
    }
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for (buffer, copy) in copies {
        copy.record(&mut encoder, buffer, aux);
    }
    drop(encoder.finish());
}

/// What the device refused, told of the operand that it comes of, if one is.
pub(super) async fn blame(
    device: &wgpu::Device,
    plan: &Plan,
    operands: &Operands<'_>,
    error: Error,
) -> Error {
    if !matches!(error, Error::Device { .. }) {
        return error;
    }
    for need in plan.requirements().iter().filter(|need| need.bytes > 0) {
        let (what, Ok(buffer)) = (need.role.name(), operands.get(need.role)) else {
            continue;
        };
        let touched = scoped(device, what, || touch(device, need, buffer)).await;
        if let Err(Error::Device { message, .. }) = touched {
            return Error::Buffer { what, message };
        }
    }
    error
}

/// Uses a buffer as a call would, and forgets it.
fn touch(device: &wgpu::Device, need: &Requirement, buffer: &wgpu::Buffer) {
    if need.storage {
        bind_alone(device, need.output, buffer);
        return;
    }
    const WORD: u64 = 4;
    let other = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: WORD,
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    match need.output {
        true => encoder.copy_buffer_to_buffer(&other, 0, buffer, 0, WORD),
        false => encoder.copy_buffer_to_buffer(buffer, 0, &other, 0, WORD),
    }
    drop(encoder.finish());
}

fn bind_alone(device: &wgpu::Device, written: bool, buffer: &wgpu::Buffer) {
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &[wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage {
                    read_only: !written,
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        }],
    });
    // One word: a whole buffer may be larger than a binding.
    let word = wgpu::BufferBinding {
        buffer,
        offset: 0,
        size: wgpu::BufferSize::new(4),
    };
    let _ = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &layout,
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(word),
        }],
    });
}

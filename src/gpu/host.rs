//! For callers who hold slices: upload, run, download.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::plan::{Budget, Plan};
use crate::problem::Role;

use super::attention::Attention;
use super::buffers::scoped;
use super::call::FEWER_BYTES;
use super::download::{completed, download};
use super::handles::check_queue;
use super::operands::Operands;

/// Operands in host memory, as bytes of the plan's elements and layouts.
#[derive(Clone, Debug, Default)]
pub struct Host<'a> {
    inputs: BTreeMap<Role, &'a [u8]>,
}

impl<'a> Host<'a> {
    /// The inputs of an attention call, as bytes of the problem's elements and layouts.
    pub fn new(q: &'a [u8], k: &'a [u8], v: &'a [u8]) -> Self {
        Self::default()
            .with(Role::Q, q)
            .with(Role::K, k)
            .with(Role::V, v)
    }

    /// Adds or replaces one operand. An output given here is what its buffer holds before the call.
    pub fn with(mut self, role: Role, bytes: &'a [u8]) -> Self {
        self.inputs.insert(role, bytes);
        self
    }
}

/// What a call wrote.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outputs {
    /// Bytes of the plan's output element and layout.
    pub o: Vec<u8>,
    /// `[B, Hq, Nq]`
    pub lse: Vec<f32>,
    /// Bytes of every other output.
    pub others: BTreeMap<Role, Vec<u8>>,
}

impl Attention {
    /// Uploads, runs (in submits of a quarter of a second at the most, as far as the device is known) and downloads. The future never blocks its thread: it polls the device when it is polled, and a
    /// timer wakes it in between.
    pub async fn run(&self, queue: &wgpu::Queue, plan: &Plan, host: &Host<'_>) -> Result<Outputs> {
        check_queue(self.device(), queue)?;
        let outputs = self.uploaded(queue, plan, host).await;
        self.refuse_lost()?;
        outputs
    }

    async fn uploaded(&self, queue: &wgpu::Queue, plan: &Plan, host: &Host<'_>) -> Result<Outputs> {
        let device = self.device();
        let buffers = scoped(device, "uploading operands", || {
            upload(device, queue, plan, host)
        });
        let bytes = plan.requirements().iter().map(|need| need.bytes).sum();
        let buffers = buffers
            .await
            .map_err(|error| error.allocating(bytes, FEWER_BYTES))??;
        let mut operands = Operands::default();
        for (role, buffer) in &buffers {
            operands = operands.with(*role, buffer);
        }
        let mut call = self.prepare(plan, &operands).await?;
        // No submit takes long enough for a driver's watchdog.
        let mut run = call.run_within(queue, Budget::SUBMIT);
        loop {
            scoped(device, "running the call", || {
                let mut encoder = device.create_command_encoder(&Default::default());
                run.encode_next(&mut encoder);
                queue.submit([encoder.finish()]);
            })
            .await?;
            if run.is_done() {
                break;
            }
            completed(device, queue).await?;
        }
        let mut outputs = Outputs::default();
        for need in plan.requirements().iter().filter(|need| need.output) {
            let Some(buffer) = buffers.get(&need.role) else {
                continue;
            };
            let bytes = download(device, queue, buffer).await?;
            match need.role {
                Role::O => outputs.o = bytes,
                Role::Lse => outputs.lse = bytemuck::pod_collect_to_vec(&bytes),
                role => drop(outputs.others.insert(role, bytes)),
            }
        }
        Ok(outputs)
    }
}

fn upload(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    plan: &Plan,
    host: &Host<'_>,
) -> Result<BTreeMap<Role, wgpu::Buffer>> {
    for &role in host.inputs.keys() {
        plan.check_named(role)?;
    }
    let mut buffers = BTreeMap::new();
    for need in plan.requirements() {
        let bytes = host.inputs.get(&need.role).copied();
        if bytes.is_none() && !need.output {
            return Err(Error::Missing {
                what: need.role.name(),
            });
        }
        let bytes = bytes.unwrap_or_default();
        if !need.output && (bytes.len() as u64).next_multiple_of(4) < need.bytes {
            let actual = bytes.len() as u64;
            return Err(Error::BufferSize {
                what: need.role.name(),
                actual,
                least: need.bytes,
            });
        }
        let size = need
            .bytes
            .max(bytes.len() as u64)
            .next_multiple_of(4)
            .max(4);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(need.role.name()),
            size,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        // Whole words first; a last half word is padded.
        let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
        if !whole.is_empty() {
            queue.write_buffer(&buffer, 0, whole);
        }
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            queue.write_buffer(&buffer, whole.len() as u64, &word);
        }
        buffers.insert(need.role, buffer);
    }
    Ok(buffers)
}

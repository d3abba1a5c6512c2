//! Plans carried out one after the other, over one set of buffers: what one writes, the next may read.
#![allow(dead_code)] // Each example uses its own part of this.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wgpu_attention::Role;
use wgpu_attention::{Call, Operands, Plan, download};

use super::device::Gpu;

/// Prepared calls and their operands on the device.
pub struct Calls {
    buffers: BTreeMap<Role, wgpu::Buffer>,
    calls: Vec<Call>,
    flops: u64,
}

impl Calls {
    /// Uploads `inputs` and prepares every plan. An operand without an input begins with zeros.
    pub fn prepare(gpu: &Gpu, plans: &[&Plan], inputs: &[(Role, &[u8])]) -> Result<Self> {
        let scopes = [
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Validation,
        ]
        .map(|filter| gpu.device.push_error_scope(filter));
        let buffers = upload(gpu, plans, inputs);
        for scope in scopes.into_iter().rev() {
            if let Some(error) = pollster::block_on(scope.pop()) {
                return Err(error)
                    .context("the operands do not fit the device; give a smaller problem");
            }
        }
        let prepare = |plan: &&Plan| {
            // A plan takes what it names, and refuses what is another's.
            let named = (plan.requirements().iter())
                .filter_map(|need| Some((need.role, buffers.get(&need.role)?)));
            let operands = named.fold(Operands::default(), |all, (role, buffer)| {
                all.with(role, buffer)
            });
            Ok(pollster::block_on(gpu.attention.prepare(plan, &operands))?)
        };
        let calls = plans.iter().map(prepare).collect::<Result<_>>()?;
        Ok(Self {
            calls,
            flops: plans.iter().map(|plan| plan.flops()).sum(),
            buffers,
        })
    }

    /// Runs all calls in one submission; the time from there to completion.
    pub fn run(&self, gpu: &Gpu) -> Result<Duration> {
        self.submit(gpu, &self.calls)
    }

    /// Runs the call of one plan alone, by its number.
    pub fn run_one(&self, gpu: &Gpu, plan: usize) -> Result<Duration> {
        self.submit(gpu, &self.calls[plan..=plan])
    }

    fn submit(&self, gpu: &Gpu, calls: &[Call]) -> Result<Duration> {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for call in calls {
            call.encode(&mut encoder);
        }
        let commands = encoder.finish();
        let start = Instant::now();
        gpu.queue.submit([commands]);
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .context("the device stopped while it computed; give a smaller problem")?;
        Ok(start.elapsed())
    }

    /// The bytes of an operand; none where no plan has it.
    pub fn download(&self, gpu: &Gpu, role: Role) -> Result<Vec<u8>> {
        match self.buffers.get(&role) {
            Some(buffer) => Ok(pollster::block_on(download(
                &gpu.device,
                &gpu.queue,
                buffer,
            ))?),
            None => Ok(Vec::new()),
        }
    }

    /// Replaces what an operand holds.
    pub fn write(&self, gpu: &Gpu, role: Role, bytes: &[u8]) {
        if let Some(buffer) = self.buffers.get(&role) {
            gpu.queue.write_buffer(buffer, 0, bytes);
        }
    }

    /// FLOPs of one run.
    pub fn flops(&self) -> u64 {
        self.flops
    }
}

/// A buffer for every operand of the plans, as large as the most demanding of them wants it.
fn upload(gpu: &Gpu, plans: &[&Plan], inputs: &[(Role, &[u8])]) -> BTreeMap<Role, wgpu::Buffer> {
    let mut sizes = BTreeMap::new();
    for need in plans.iter().flat_map(|plan| plan.requirements()) {
        let size = sizes.entry(need.role).or_insert(4);
        *size = need.bytes.next_multiple_of(4).max(*size);
    }
    let given = |role| inputs.iter().find(|(input, _)| *input == role);
    sizes
        .into_iter()
        .map(|(role, size)| {
            let bytes = given(role).map_or(&[][..], |(_, bytes)| bytes);
            (role, buffer(gpu, role, size, bytes))
        })
        .collect()
}

fn buffer(gpu: &Gpu, role: Role, size: u64, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(role.name()),
        size: size.max(bytes.len() as u64).next_multiple_of(4),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    // Whole words first; a last half word is padded.
    let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
    gpu.queue.write_buffer(&buffer, 0, whole);
    if !rest.is_empty() {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        gpu.queue.write_buffer(&buffer, whole.len() as u64, &word);
    }
    buffer
}

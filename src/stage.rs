//! For callers who hold slices: upload, run, download.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;

use crate::attention::Attention;
use crate::call::Operands;
use crate::error::{Error, Result};
use crate::kernels::scoped;
use crate::plan::{Plan, Role};
use crate::timer::Timer;

/// Operands in host memory, as bytes of the plan's elements and layouts.
#[derive(Clone, Debug, Default)]
pub struct Host<'a> {
    inputs: BTreeMap<Role, &'a [u8]>,
}

impl<'a> Host<'a> {
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
pub struct Outputs {
    /// Bytes of the plan's output element and layout.
    pub o: Vec<u8>,
    /// `[B, Hq, Nq]`
    pub lse: Vec<f32>,
    /// Bytes of every other output.
    pub others: BTreeMap<Role, Vec<u8>>,
}

impl Attention {
    /// Uploads, runs and downloads. The future never blocks its thread: it polls the device when it is polled, and a
    /// timer wakes it in between.
    pub async fn run(&self, queue: &wgpu::Queue, plan: &Plan, host: &Host<'_>) -> Result<Outputs> {
        let device = self.device();
        let buffers = scoped(device, "uploading operands", || {
            upload(device, queue, plan, host)
        })
        .await??;
        let mut operands = Operands::default();
        for (role, buffer) in &buffers {
            operands = operands.with(*role, buffer);
        }
        let call = self.prepare(plan, &operands).await?;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        call.encode(&mut encoder);
        queue.submit([encoder.finish()]);
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

/// The contents of `buffer` (usage `COPY_SRC`), after all that was submitted before.
///
/// The future calls `device.poll(PollType::Poll)` when it is polled, never `Wait`; while it is pending a timer wakes
/// it. It may be dropped half-way, and ends with an error on a lost device.
pub async fn download(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
) -> Result<Vec<u8>> {
    let (sender, mapped) = oneshot::channel();
    // A lost device makes an invalid buffer without a word; mapping it is the error.
    let staging = scoped(device, "downloading", || {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone when the future was dropped half-way; then nobody waits for this.
            let _ = sender.send(result);
        });
        staging
    })
    .await?;
    Mapping {
        device: device.clone(),
        mapped,
        timer: Timer::default(),
    }
    .await?;
    let lost = |message: String| Error::Download { message };
    let bytes = staging
        .get_mapped_range(..)
        .map_err(|e| lost(e.to_string()))?
        .to_vec();
    Ok(bytes)
}

/// Waits for a mapping without blocking.
struct Mapping {
    device: wgpu::Device,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
    timer: Timer,
}

impl Future for Mapping {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let failed = |message: String| Poll::Ready(Err(Error::Download { message }));
        let polled = self.device.poll(wgpu::PollType::Poll);
        match Pin::new(&mut self.mapped).poll(context) {
            Poll::Ready(Ok(Ok(()))) => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(Err(error))) => return failed(error.to_string()),
            Poll::Ready(Err(_)) => return failed("the device dropped the request".into()),
            Poll::Pending => {}
        }
        if let Err(error) = polled {
            return failed(error.to_string());
        }
        self.timer.wake_soon(context);
        Poll::Pending
    }
}

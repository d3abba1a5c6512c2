//! Timing a plan: from submit to completion, operands already on the device.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu_attention::plan::{Requirement, Role};
use wgpu_attention::{Call, Operands, Plan};

use super::device::Gpu;

/// Runs before the first one that counts: the driver compiles at the first.
const WARM_UPS: usize = 2;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timing {
    pub runs: usize,
    pub min_ms: f64,
    pub median_ms: f64,
    /// Of the fastest run.
    pub gflops: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            min_ms,
            median_ms,
            gflops,
        } = self;
        write!(
            f,
            "time: min {min_ms:.3} ms, median {median_ms:.3} ms of {runs} runs, {gflops:.1} GFLOP/s"
        )
    }
}

/// Times `runs` runs of a plan over `inputs`.
pub fn time(gpu: &Gpu, plan: &Plan, inputs: &[(Role, &[u8])], runs: usize) -> Result<Timing> {
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffers: Vec<_> = plan
        .requirements()
        .iter()
        .map(|need| (need.role, buffer(gpu, need, inputs)))
        .collect();
    if let Some(error) = pollster::block_on(scope.pop()) {
        return Err(error).context("the operands do not fit the device; give a smaller problem");
    }
    let operands = buffers
        .iter()
        .fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        });
    let call = pollster::block_on(gpu.attention.prepare(plan, &operands))?;
    for _ in 0..WARM_UPS {
        run(gpu, &call)?;
    }
    let times = (0..runs).map(|_| run(gpu, &call)).collect::<Result<_>>()?;
    Ok(summary(times, plan.flops()))
}

fn buffer(gpu: &Gpu, need: &Requirement, inputs: &[(Role, &[u8])]) -> wgpu::Buffer {
    let given = inputs.iter().find(|(role, _)| *role == need.role);
    let mut contents = given.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default();
    contents.resize((need.bytes as usize).max(4), 0);
    gpu.device.create_buffer_init(&BufferInitDescriptor {
        label: Some(need.role.name()),
        contents: &contents,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    })
}

fn run(gpu: &Gpu, call: &Call) -> Result<Duration> {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    call.encode(&mut encoder);
    let commands = encoder.finish();
    let start = Instant::now();
    gpu.queue.submit([commands]);
    gpu.device
        .poll(wgpu::PollType::wait_indefinitely())
        .context("the device stopped while it was timed; give a smaller problem")?;
    Ok(start.elapsed())
}

/// The upper of the two middle runs is the median of an even number.
fn summary(mut times: Vec<Duration>, flops: u64) -> Timing {
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let min_ms = ms(times.first());
    Timing {
        runs: times.len(),
        min_ms,
        median_ms: ms(times.get(times.len() / 2)),
        gflops: flops as f64 / 1e6 / min_ms.max(1e-6),
    }
}

//! Timing a plan: from submit to completion, operands already on the device.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use wgpu_attention::Plan;
use wgpu_attention::Role;

use super::calls::Calls;
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
#[allow(dead_code)] // For examples without calls of their own.
pub fn time(gpu: &Gpu, plan: &Plan, inputs: &[(Role, &[u8])], runs: usize) -> Result<Timing> {
    time_calls(gpu, &Calls::prepare(gpu, &[plan], inputs)?, runs)
}

/// Times `runs` runs of prepared calls.
pub fn time_calls(gpu: &Gpu, calls: &Calls, runs: usize) -> Result<Timing> {
    for _ in 0..WARM_UPS {
        calls.run(gpu)?;
    }
    let times = (0..runs).map(|_| calls.run(gpu)).collect::<Result<_>>()?;
    Ok(summary(times, calls.flops()))
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

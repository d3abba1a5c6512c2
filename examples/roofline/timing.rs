//! How a time is taken: the minimum of [`RUNS`] runs after [`WARM_UPS`], from submit to completion, with the cases
//! whose times are compared taking turns, so that a slow moment of the machine hits all of them.

use anyhow::Result;
use wgpu::CommandEncoder;

use crate::gpu::Gpu;

pub const WARM_UPS: usize = 2;
pub const RUNS: usize = 7;

/// Something that can be recorded any number of times.
pub trait Work {
    fn encode(&self, encoder: &mut CommandEncoder);
}

/// The times of one case in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub min: f64,
    pub median: f64,
}

impl Times {
    fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        Self {
            min: runs[0],
            median: runs[runs.len() / 2],
        }
    }
}

/// One run of `work`, in milliseconds.
pub fn once(gpu: &Gpu, work: &dyn Work) -> Result<f64> {
    Ok(gpu.time(|encoder| work.encode(encoder))?.as_secs_f64() * 1e3)
}

/// Times all cases in turns; `tick` is called after each run.
pub fn interleaved(
    gpu: &Gpu,
    cases: &[&dyn Work],
    warm_ups: usize,
    mut tick: impl FnMut(),
) -> Result<Vec<Times>> {
    let mut runs = vec![Vec::with_capacity(RUNS); cases.len()];
    for round in 0..warm_ups + RUNS {
        for (case, runs) in cases.iter().zip(&mut runs) {
            let ms = once(gpu, *case)?;
            if round >= warm_ups {
                runs.push(ms);
            }
            tick();
        }
    }
    Ok(runs.into_iter().map(Times::of).collect())
}

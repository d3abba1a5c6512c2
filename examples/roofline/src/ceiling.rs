//! What this adapter can do at most: arithmetic, reading, copying. Each ceiling is the best of several probes, because
//! a probe that is itself slow makes every share look good.

mod fma;
mod memory;

use anyhow::Result;

use crate::gpu::Gpu;
use crate::timing::{Times, Turn, Work, interleaved};

pub use fma::Chains;
pub use memory::Copy;

/// A probe with the amount of what it does (FLOP or bytes) in one run.
pub trait Probe: Work {
    fn amount(&self) -> f64;
    /// Fails if the last run's result is not what it must be.
    fn check(&self, gpu: &Gpu) -> Result<()>;
}

/// The ceilings of one adapter.
pub struct Ceiling {
    /// Multiply-adds in registers, 10⁹ FLOP/s; 1 fma is 2 FLOP.
    pub fma_gflops: f64,
    /// Reading and adding up, 10⁹ bytes/s.
    pub read_gbps: f64,
    /// Copying, 10⁹ bytes/s, bytes read and bytes written both counted.
    pub copy_gbps: f64,
    /// The same by a kernel: what a pass that only moves bytes could reach.
    pub kernel_copy_gbps: f64,
    /// The fastest arithmetic probe, the fastest copy by a kernel and the command's: they take turns with the rows, whose
    /// shares are ratios to them.
    pub chains: Chains,
    pub kernel_copy: Copy,
    pub command_copy: Copy,
}

impl Ceiling {
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let mut chains = fma::probes(gpu)?;
        let (mut kernels, command_copy) = memory::copies(gpu)?;
        let (best_chains, fma_gflops) = best(gpu, &chains)?;
        let (_, read_gbps) = best(gpu, &memory::reads(gpu)?)?;
        let (best_kernel, kernel_copy_gbps) = best(gpu, &kernels)?;
        let (_, command_copy_gbps) = best(gpu, std::slice::from_ref(&command_copy))?;
        Ok(Self {
            fma_gflops,
            read_gbps,
            copy_gbps: command_copy_gbps.max(kernel_copy_gbps),
            kernel_copy_gbps,
            chains: chains.swap_remove(best_chains),
            kernel_copy: kernels.swap_remove(best_kernel),
            command_copy,
        })
    }

    /// The probes that take turns with rows; [`raise`](Self::raise) wants their times in this order.
    pub fn turns(&self) -> [Turn<'_>; 3] {
        let works: [&dyn Work; 3] = [&self.chains, &self.kernel_copy, &self.command_copy];
        works.map(|work| Turn { work, first: None })
    }

    /// Raises a ceiling if its probe ran faster beside the rows.
    pub fn raise(&mut self, [chains, kernel, command]: [Times; 3]) {
        self.fma_gflops = self.fma_gflops.max(rate(&self.chains, chains));
        let by_kernel = rate(&self.kernel_copy, kernel);
        self.kernel_copy_gbps = self.kernel_copy_gbps.max(by_kernel);
        let by_command = rate(&self.command_copy, command);
        self.copy_gbps = self.copy_gbps.max(by_kernel).max(by_command);
    }
}

/// Index and rate of the fastest probe.
fn best<P: Probe>(gpu: &Gpu, probes: &[P]) -> Result<(usize, f64)> {
    let turn = |work| Turn { work, first: None };
    let turns: Vec<_> = probes
        .iter()
        .map(|probe| turn(probe as &dyn Work))
        .collect();
    let times = interleaved(gpu, &turns, || ())?;
    let mut best = (0, 0.0);
    for (index, (probe, times)) in probes.iter().zip(times).enumerate() {
        probe.check(gpu)?;
        if rate(probe, times) > best.1 {
            best = (index, rate(probe, times));
        }
    }
    Ok(best)
}

/// 10⁹ of the probe's amount a second.
fn rate(probe: &impl Probe, times: Times) -> f64 {
    probe.amount() / times.min / 1e6
}

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
    /// The fastest arithmetic probe and the fastest copy; they take turns with the rows, whose shares are ratios to them.
    pub chains: Chains,
    pub copy: Copy,
}

impl Ceiling {
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let mut chains = fma::probes(gpu)?;
        let mut copies = memory::copies(gpu)?;
        let (best_chains, fma_gflops) = best(&rates(gpu, &chains)?);
        let (_, read_gbps) = best(&rates(gpu, &memory::reads(gpu)?)?);
        let copy_rates = rates(gpu, &copies)?;
        let (best_copy, copy_gbps) = best(&copy_rates);
        let by_kernels = copies.iter().zip(&copy_rates);
        let kernel_copy_gbps = by_kernels
            .filter(|(copy, _)| copy.is_by_kernel())
            .fold(0.0, |best, (_, &rate)| rate.max(best));
        Ok(Self {
            fma_gflops,
            read_gbps,
            copy_gbps,
            kernel_copy_gbps,
            chains: chains.swap_remove(best_chains),
            copy: copies.swap_remove(best_copy),
        })
    }

    /// The probes that take turns with rows; [`raise`](Self::raise) wants their times in this order.
    pub fn turns(&self) -> [Turn<'_>; 2] {
        let works: [&dyn Work; 2] = [&self.chains, &self.copy];
        works.map(|work| Turn { work, first: None })
    }

    /// Raises a ceiling if its probe ran faster beside the rows.
    pub fn raise(&mut self, [chains, copy]: [Times; 2]) {
        self.fma_gflops = self.fma_gflops.max(rate(&self.chains, chains));
        self.copy_gbps = self.copy_gbps.max(rate(&self.copy, copy));
        if self.copy.is_by_kernel() {
            self.kernel_copy_gbps = self.copy_gbps;
        }
    }
}

/// Each probe's rate.
fn rates<P: Probe>(gpu: &Gpu, probes: &[P]) -> Result<Vec<f64>> {
    let turn = |work| Turn { work, first: None };
    let turns: Vec<_> = probes
        .iter()
        .map(|probe| turn(probe as &dyn Work))
        .collect();
    let times = interleaved(gpu, &turns, || ())?;
    let rated = probes.iter().zip(times).map(|(probe, times)| {
        probe.check(gpu)?;
        Ok(rate(probe, times))
    });
    rated.collect()
}

/// Index and rate of the fastest.
fn best(rates: &[f64]) -> (usize, f64) {
    let faster = |best: (usize, f64), (n, &rate)| if rate > best.1 { (n, rate) } else { best };
    rates.iter().enumerate().fold((0, 0.0), faster)
}

/// 10⁹ of the probe's amount a second.
fn rate(probe: &impl Probe, times: Times) -> f64 {
    probe.amount() / times.min / 1e6
}

//! How fast a device turned out to be, kernel by kernel, against what its class is taken to do.

use std::collections::HashMap;

use crate::caps::AdapterClass;

use super::Cost;
use super::budget::Budget;

/// What a device of a class is taken to do until it is measured: FLOPs and bytes per second, and seconds per dispatch.
struct Speed {
    flops: f64,
    bytes: f64,
    dispatch: f64,
}

/// lavapipe on two to eight cores: 37 to 72 GFLOP/s measured; an H200: 20 TFLOP/s. No integrated GPU was measured.
const fn speed(class: AdapterClass) -> Speed {
    let [flops, bytes, dispatch] = match class {
        AdapterClass::Cpu => [40e9, 4e9, 30e-6],
        AdapterClass::Integrated => [100e9, 20e9, 10e-6],
        AdapterClass::Discrete => [1e12, 200e9, 5e-6],
    };
    Speed {
        flops,
        bytes,
        dispatch,
    }
}

/// FLOPs per second that one workgroup is taken to do while others run beside it: a core, or its part of one.
const fn workgroup_flops(class: AdapterClass) -> f64 {
    match class {
        AdapterClass::Cpu => 8e9,
        AdapterClass::Integrated => 4e9,
        AdapterClass::Discrete => 10e9,
    }
}

/// FLOPs that a device of this class is taken to do in so many seconds.
fn flops_in(class: AdapterClass, seconds: f64) -> u64 {
    (speed(class).flops * seconds) as u64
}

/// FLOPs of a step at the most: what a device of this class is taken to do in the time of a submit.
pub(super) fn step_flops(class: AdapterClass) -> u64 {
    flops_in(class, Budget::SUBMIT.seconds())
}

/// FLOPs that one workgroup is taken to do in so many seconds.
pub(super) fn workgroup_flops_in(class: AdapterClass, seconds: f64) -> u64 {
    (workgroup_flops(class) * seconds) as u64
}

/// Seconds that a device of this class is taken to need. What kernels of tiles read comes from caches, so that their FLOPs
/// tell; of others the bytes.
pub(super) fn assumed(class: AdapterClass, cost: &Cost) -> f64 {
    let Speed {
        flops,
        bytes,
        dispatch,
    } = speed(class);
    let moved = cost.read_bytes.saturating_add(cost.written_bytes);
    dispatch
        + match cost.flops {
            0 => moved as f64 / bytes,
            n => n as f64 / flops,
        }
}

/// A kernel that was never measured is taken to be so many times as slow as its class.
const CAUTION: f64 = 4.0;
/// How far one measurement may move what is believed: a driver compiles during the first, a machine may be busy.
const LEAP: f64 = 16.0;

/// Times against those assumed, by kernel.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    slowness: HashMap<u64, f64>,
}

impl Pace {
    /// How many times the assumed time this kernel takes.
    pub fn slowness(&self, kernel: u64) -> f64 {
        match self.slowness.get(&kernel) {
            Some(&slowness) => slowness,
            None => CAUTION * self.usual(),
        }
    }

    /// The geometric mean of those that were measured.
    pub fn usual(&self) -> f64 {
        let logarithms: f64 = self.slowness.values().map(|x| x.ln()).sum();
        (logarithms / self.slowness.len().max(1) as f64).exp()
    }

    /// Takes a kernel to be as fast as is assumed.
    pub(super) fn suppose(&mut self, kernel: u64) {
        self.slowness.insert(kernel, 1.0);
    }

    /// Learns that these kernels, of so many assumed seconds each, took `measured` seconds together. Each answers for its share
    /// of them: the time of a short one beside a long one tells little of it.
    pub fn learn(&mut self, work: &[(u64, f64)], measured: f64) {
        let times: Vec<f64> = work
            .iter()
            .map(|&(kernel, seconds)| seconds * self.slowness(kernel))
            .collect();
        let expected: f64 = times.iter().sum();
        let ratio = measured / expected;
        if !ratio.is_finite() || ratio <= 0.0 {
            return;
        }
        let ratio = ratio.clamp(1.0 / LEAP, LEAP);
        // What is about right is smoothed; what is far off is believed at once.
        let is_near = (0.5..2.0).contains(&ratio);
        let learned = work.iter().zip(times).map(|(&(kernel, _), time)| {
            let is_known = self.slowness.contains_key(&kernel);
            let weight = if is_known && is_near { 0.5 } else { 1.0 };
            (
                kernel,
                self.slowness(kernel) * ratio.powf(weight * time / expected),
            )
        });
        let learned: Vec<_> = learned.collect();
        self.slowness.extend(learned);
    }
}

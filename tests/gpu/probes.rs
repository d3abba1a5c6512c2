//! What the shaders rely on, asked of naga and the adapter; `tests/browser` asks Tint the same.

use crate::device::{gpu, say};
use crate::run::read;
use crate::support::probes::{self, Probe};

/// The words that a probe writes.
fn ask(probe: &Probe) -> Vec<u32> {
    let gpu = gpu();
    let (commands, output) = probe.record(&gpu.device);
    gpu.queue.submit([commands]);
    let [bytes] = read(gpu, [&output]);
    bytemuck::pod_collect_to_vec(&bytes)
}

#[test]
fn every_construct_that_the_shaders_rely_on() {
    let probes = probes::all();
    let faults: Vec<String> = probes
        .iter()
        .filter_map(|probe| probe.check(&ask(probe)).err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    say(&format!("{} probes", probes.len()));
}

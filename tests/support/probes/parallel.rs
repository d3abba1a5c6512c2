//! A workgroup: shared memory between barriers, and atomics.

use super::{Probe, WORKGROUP, Want};

fn words(of: impl Fn(u32) -> u32) -> Vec<Want> {
    (0..WORKGROUP).map(|n| Want::Bits(of(n))).collect()
}

pub fn probes() -> Vec<Probe> {
    let input: Vec<u32> = (0..WORKGROUP).map(|n| n * n).collect();
    let sum: u32 = input.iter().sum();
    vec![
        Probe::workgroup(
            "what a barrier divides",
            "var<workgroup> tile: array<vec4<u32>, 64>;
            fn probe(n: u32) {
                var sum = 0u;
                for (var t = 0u; t < 4u; t++) {
                    tile[n] = vec4<u32>(a[n]) + vec4<u32>(t, 0u, 0u, t);
                    workgroupBarrier();
                    sum += tile[(n + t) % 64u].x + tile[63u - n].w;
                    workgroupBarrier();
                }
                out[n] = sum;
            }",
            input.clone(),
            words(|n| {
                let square = |n: u32| n * n;
                (0..4)
                    .map(|t| square((n + t) % 64) + t + square(63 - n) + t)
                    .sum()
            }),
        ),
        Probe::workgroup(
            "atomics of a workgroup",
            "var<workgroup> counts: array<atomic<u32>, 3>;
            fn probe(n: u32) {
                if (n == 0u) { for (var c = 0u; c < 3u; c++) { atomicStore(&counts[c], 0u); } }
                workgroupBarrier();
                atomicAdd(&counts[0], a[n]);
                if (n % 2u == 1u) { atomicOr(&counts[1], 1u << (n / 2u)); }
                atomicMax(&counts[2], a[n]);
                workgroupBarrier();
                out[n] = atomicLoad(&counts[n % 3u]);
            }",
            input.clone(),
            words(|n| [sum, u32::MAX, 63 * 63][n as usize % 3]),
        ),
        Probe::workgroup(
            "a tree of sums",
            "var<workgroup> parts: array<u32, 64>;
            fn probe(n: u32) {
                parts[n] = a[n];
                for (var half = 32u; half > 0u; half /= 2u) {
                    workgroupBarrier();
                    if (n < half) { parts[n] += parts[n + half]; }
                }
                workgroupBarrier();
                out[n] = parts[0];
            }",
            input,
            words(|_| sum),
        ),
    ]
}

//! Register-only chains of multiply-adds: x_c = x_c · x_(c+1) + b.
//!
//! Each chain takes its neighbour as a factor. Chains of their own may be computed one after another (LLVM does so),
//! and then the probe measures the latency of one chain: 19 instead of 130 GFLOP/s on lavapipe.

use std::fmt::Write;

use anyhow::{Result, ensure};

use super::Probe;
use crate::gpu::{Gpu, dispatch};
use crate::timing::{Work, once};

/// Multiply-adds of a chain that stand in the text one after another.
const STEPS: u32 = 40;
/// Times that the unrolled steps are repeated.
const ROUNDS: u32 = 64;
const WORKGROUP: u32 = 64;
/// Long enough that starting a dispatch does not count, in milliseconds.
const LONG_ENOUGH: f64 = 20.0;
/// x · x + B has a fixed point that draws everything below 1 − it: no overflow, no denormals.
const B: f32 = 0.2;

/// How many chains run side by side, each of a scalar or of a vec4.
#[derive(Clone, Copy)]
struct Shape {
    chains: u32,
    width: u32,
}

/// 12 scalars beside the powers of two: with the operands they just fill 16 vector registers.
const SHAPES: [Shape; 7] = [
    Shape {
        chains: 8,
        width: 1,
    },
    Shape {
        chains: 12,
        width: 1,
    },
    Shape {
        chains: 16,
        width: 1,
    },
    Shape {
        chains: 32,
        width: 1,
    },
    Shape {
        chains: 4,
        width: 4,
    },
    Shape {
        chains: 8,
        width: 4,
    },
    Shape {
        chains: 16,
        width: 4,
    },
];

/// One probe: so many chains in every invocation.
pub struct Chains {
    shape: Shape,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    results: wgpu::Buffer,
    workgroups: u32,
}

/// A probe for each shape.
pub fn probes(gpu: &Gpu) -> Result<Vec<Chains>> {
    SHAPES
        .iter()
        .map(|&shape| Chains::new(gpu, shape))
        .collect()
}

impl Chains {
    fn new(gpu: &Gpu, shape: Shape) -> Result<Self> {
        let most = gpu.device.limits().max_compute_workgroups_per_dimension;
        let pipeline = gpu.pipeline("fma", &source(shape), &[])?;
        let numbers = gpu.upload("fma numbers", bytemuck::cast_slice(&numbers()));
        let results = gpu.buffer("fma results", u64::from(most * WORKGROUP) * 4);
        let buffers = [numbers.as_entire_binding(), results.as_entire_binding()];
        let bindings = gpu.bind(&pipeline, &buffers);
        let mut probe = Self {
            shape,
            pipeline,
            bindings,
            results,
            workgroups: 16.min(most),
        };
        // The first run compiles.
        once(gpu, &probe)?;
        while probe.workgroups <= most / 2 && once(gpu, &probe)? < LONG_ENOUGH {
            probe.workgroups *= 2;
        }
        Ok(probe)
    }
}

impl Work for Chains {
    fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        dispatch(
            encoder,
            &self.pipeline,
            &self.bindings,
            [self.workgroups, 1, 1],
        );
    }
}

impl Probe for Chains {
    fn amount(&self) -> f64 {
        let invocations = f64::from(self.workgroups) * f64::from(WORKGROUP);
        let steps = f64::from(STEPS) * f64::from(ROUNDS);
        2.0 * f64::from(self.shape.chains * self.shape.width) * steps * invocations
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let bytes = gpu.download(&self.results)?;
        let results: &[f32] = bytemuck::cast_slice(&bytes);
        let expected = expected(self.shape);
        for &result in &results[..(self.workgroups * WORKGROUP) as usize] {
            ensure!(
                (f64::from(result) - expected).abs() < 1e-4 * expected,
                "an arithmetic probe of {} × {} chains gave {result} where {expected} is right",
                self.shape.chains,
                self.shape.width,
            );
        }
        Ok(())
    }
}

fn numbers() -> Vec<f32> {
    let seeds = (0..64).map(|i| i as f32 / 256.0);
    seeds.chain([B]).collect()
}

/// The first value of component `part` of chain `chain`, less the seed: all differ, or the compiler would merge them.
fn start(chain: u32, part: u32) -> f32 {
    (chain * 4 + part) as f32 / 512.0
}

/// What every invocation writes: the fixed point of x = x² + b, once a chain and component.
fn expected(shape: Shape) -> f64 {
    let fixed = (1.0 - (1.0 - 4.0 * f64::from(B)).sqrt()) / 2.0;
    fixed * f64::from(shape.chains * shape.width)
}

/// `fma.wgsl` with the function `chains` for this shape.
fn source(shape: Shape) -> String {
    let (kind, total) = match shape.width {
        1 => ("f32", "total"),
        _ => ("vec4<f32>", "dot(total, vec4(1.0))"),
    };
    let declare = each_chain(shape, |c| {
        let parts: Vec<_> = (0..shape.width)
            .map(|part| format!("seed + {:?}", start(c, part)))
            .collect();
        format!("    var x{c} = {kind}({});\n", parts.join(", "))
    });
    let step = each_chain(shape, |c| {
        format!(
            "        x{c} = fma(x{c}, x{}, vb);\n",
            (c + 1) % shape.chains
        )
    });
    let add = each_chain(shape, |c| format!("    total += x{c};\n"));
    let mut text = String::from(include_str!("fma.wgsl"));
    let _ = write!(
        text,
        "\nfn chains(seed: f32, b: f32) -> f32 {{\n    let vb = {kind}(b);\n{declare}    \
         for (var round = 0u; round < {ROUNDS}u; round++) {{\n{}    }}\n    var total = {kind}();\n{add}    return {total};\n}}\n",
        step.repeat(STEPS as usize),
    );
    text
}

fn each_chain(shape: Shape, line: impl Fn(u32) -> String) -> String {
    (0..shape.chains).map(line).collect()
}

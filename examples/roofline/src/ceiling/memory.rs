//! Reading and copying buffers of 64 MiB, which every device may bind whole.

use std::fmt::Write;

use anyhow::{Result, ensure};
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePipeline, Features};

use super::Probe;
use crate::gpu::{Gpu, dispatch};
use crate::timing::Work;

/// Above the last-level cache of most adapters.
const BYTES: u64 = 64 << 20;
const WORKGROUP: u64 = 64;
const VEC4: u64 = 16;
/// Loads in a row that are tried.
const LOADS: [u64; 3] = [4, 16, 64];
/// Words that an invocation of `copy.wgsl` copies, and their bytes: the best of 1, 2 and 4 of each width.
const COPIED: (u64, u64) = (4, VEC4);
const COPIED_WIDE: (u64, u64) = (2, 32);

/// A compiled kernel with its buffers.
struct Kernel {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    workgroups: u32,
}

/// Adds up a buffer.
pub struct Read {
    kernel: Kernel,
    sums: Buffer,
    bytes: u64,
}

/// Copies a buffer: by a kernel, or by the command that wgpu has for it.
pub struct Copy {
    kernel: Option<Kernel>,
    source: Buffer,
    destination: Buffer,
}

/// A read for each number of loads.
pub fn reads(gpu: &Gpu) -> Result<Vec<Read>> {
    let data = filled(gpu);
    LOADS
        .iter()
        .map(|&loads| Read::new(gpu, &data, loads))
        .collect()
}

/// Copies by a kernel, of 64-bit words too where the device has them, and the copy by the command.
pub fn copies(gpu: &Gpu) -> Result<(Vec<Copy>, Copy)> {
    let source = filled(gpu);
    let to = |destination, kernel| Copy {
        kernel,
        source: source.clone(),
        destination,
    };
    let destination = || gpu.buffer("copy destination", source.size());
    let by_kernel = |(word, (count, bytes))| {
        let destination = destination();
        let wgsl = copy_source(word, count);
        let kernel = Kernel::new(gpu, &wgsl, [&source, &destination], count * bytes)?;
        Ok(to(destination, Some(kernel)))
    };
    let has_wide = gpu.device.features().contains(Features::SHADER_INT64);
    let wide = has_wide.then_some(("vec4<u64>", COPIED_WIDE));
    let words = std::iter::once(("vec4<f32>", COPIED)).chain(wide);
    let kernels: Result<_> = words.map(by_kernel).collect();
    Ok((kernels?, to(destination(), None)))
}

impl Kernel {
    /// A kernel each of whose invocations works on so many bytes of the first buffer.
    fn new(gpu: &Gpu, wgsl: &str, buffers: [&Buffer; 2], bytes: u64) -> Result<Self> {
        let pipeline = gpu.pipeline("memory", wgsl, &[])?;
        let bindings = gpu.bind(&pipeline, &buffers.map(|buffer| buffer.as_entire_binding()));
        let workgroups = buffers[0].size() / (WORKGROUP * bytes);
        Ok(Self {
            pipeline,
            bindings,
            workgroups: u32::try_from(workgroups)?,
        })
    }

    fn encode(&self, encoder: &mut CommandEncoder) {
        dispatch(
            encoder,
            &self.pipeline,
            &self.bindings,
            [self.workgroups, 1, 1],
        );
    }
}

impl Read {
    fn new(gpu: &Gpu, data: &Buffer, loads: u64) -> Result<Self> {
        let sums = gpu.buffer("sums", data.size() / (VEC4 * loads) * 4);
        Ok(Self {
            kernel: Kernel::new(gpu, &read_source(loads), [data, &sums], loads * VEC4)?,
            sums,
            bytes: data.size(),
        })
    }
}

impl Work for Read {
    fn encode(&self, encoder: &mut CommandEncoder) {
        self.kernel.encode(encoder);
    }
}

impl Probe for Read {
    fn amount(&self) -> f64 {
        self.bytes as f64
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let bytes = gpu.download(&self.sums)?;
        let sums: &[f32] = bytemuck::cast_slice(&bytes);
        let total: f64 = sums.iter().map(|&sum| f64::from(sum)).sum();
        let expected: f64 = (0..self.bytes / 4).map(|i| f64::from(number(i))).sum();
        ensure!(
            total == expected,
            "the read probe added up {total} where {expected} is right"
        );
        Ok(())
    }
}

impl Work for Copy {
    fn encode(&self, encoder: &mut CommandEncoder) {
        match &self.kernel {
            Some(kernel) => kernel.encode(encoder),
            None => {
                encoder.copy_buffer_to_buffer(
                    &self.source,
                    0,
                    &self.destination,
                    0,
                    self.source.size(),
                );
            }
        }
    }
}

impl Probe for Copy {
    fn amount(&self) -> f64 {
        2.0 * self.source.size() as f64
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let right = gpu.download(&self.source)? == gpu.download(&self.destination)?;
        ensure!(
            right,
            "the copy probe's destination differs from its source"
        );
        Ok(())
    }
}

/// Small whole numbers: their sums are exact in f32.
fn number(index: u64) -> f32 {
    (index % 7) as f32
}

fn filled(gpu: &Gpu) -> Buffer {
    let numbers: Vec<f32> = (0..BYTES / 4).map(number).collect();
    gpu.upload("numbers", bytemuck::cast_slice(&numbers))
}

/// `read.wgsl` with the function `sum` of so many loads.
fn read_source(loads: u64) -> String {
    let mut text = String::from(include_str!("read.wgsl"));
    let _ = write!(
        text,
        "\nconst LOADS: u32 = {loads};\n\nfn sum(first: u32) -> vec4<f32> {{\n"
    );
    let _ = writeln!(text, "    var total = words[first];");
    for load in 1..loads {
        let _ = writeln!(text, "    total += words[first + {load} * WORKGROUP];");
    }
    text.push_str("    return total;\n}\n");
    text
}

/// `copy.wgsl` of so many words.
fn copy_source(word: &str, count: u64) -> String {
    let mut text = String::from(include_str!("copy.wgsl"));
    let _ = write!(
        text,
        "\nalias Word = {word};\nconst WORDS: u32 = {count};\n\nfn copy(first: u32) {{\n"
    );
    for n in 0..count {
        let at = format!("first + {n} * WORKGROUP");
        let _ = writeln!(text, "    destination[{at}] = source[{at}];");
    }
    text.push_str("}\n");
    text
}

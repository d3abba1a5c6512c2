//! Small operations of generation: new rows written into a cache, partial results merged, and a dispatch of nothing.

use anyhow::Result;
use wgpu::{Buffer, CommandEncoder, ComputePipeline};
use wgpu_attention::problem::{KvAddress, Lengths, Offsets, Shape};
use wgpu_attention::{Call, Element, KvAppend, Merge, Operands, Plan, Role};

use crate::case::{Case, Row};
use crate::check::Accuracy;
use crate::gpu::{Gpu, dispatch};
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

/// Rows that the cache of an append has before it.
const BEFORE: u32 = 256;

/// A planned operation of one output that is looked at.
struct Operation {
    plan: Plan,
    buffers: Vec<(Role, Buffer)>,
    output: usize,
    moved: u64,
    expected: Vec<f64>,
    /// Which numbers of the output are the expected ones.
    at: fn(usize, &Shape) -> usize,
    shape: Shape,
    call: Option<Call>,
}

/// k and v of the row's keys appended to a cache behind others.
pub fn append(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let new = row.problem.shape;
    let shape = Shape {
        q_len: new.kv_len,
        kv_len: new.kv_len + BEFORE,
        ..new
    };
    let append = KvAppend::new(shape, KvAddress::Strided, Element::F32)
        .with_kv_lens(Lengths::Host(vec![shape.kv_len]))
        .with_q_offset(Offsets::Host(vec![BEFORE as i32]));
    let inputs = Inputs::random(&row.problem);
    let bytes = u64::from(shape.kv_heads) * u64::from(shape.kv_len) * u64::from(shape.head_dim) * 4;
    let k = encode(Element::F32, &inputs.k);
    let moved = 4 * k.len() as u64;
    Ok(Box::new(Operation {
        plan: gpu.attention.plan_append(&append)?,
        buffers: vec![
            (Role::K, gpu.upload("k", &k)),
            (Role::V, gpu.upload("v", &encode(Element::F32, &inputs.v))),
            (Role::KCache, gpu.buffer("cached keys", bytes)),
            (Role::VCache, gpu.buffer("cached values", bytes)),
        ],
        output: 2,
        moved,
        expected: inputs.k,
        at: appended,
        shape,
        call: None,
    }))
}

/// Where number n of the new keys is in the cache.
fn appended(n: usize, shape: &Shape) -> usize {
    let of_head = (shape.q_len * shape.head_dim) as usize;
    let cached = (shape.kv_len * shape.head_dim) as usize;
    n / of_head * cached + (BEFORE * shape.head_dim) as usize + n % of_head
}

/// As many partial results of equal weight as the row has keys.
pub fn merge(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let shape = row.problem.shape;
    let (parts, rows) = (shape.kv_len, shape.rows() as usize);
    let merge = Merge::new(
        parts,
        [shape.batch, shape.q_heads, shape.q_len],
        shape.value_dim,
        Element::F32,
    );
    let numbers = rows * shape.value_dim as usize;
    let partial: Vec<f64> = (0..parts as usize * numbers)
        .map(|n| f64::from((n * 7919 % 1000) as f32 / 500.0 - 1.0))
        .collect();
    let expected = (0..numbers)
        .map(|n| partial.iter().skip(n).step_by(numbers).sum::<f64>() / f64::from(parts))
        .collect();
    let partial = encode(Element::F32, &partial);
    let lse = vec![0u8; parts as usize * rows * 4];
    let moved = partial.len() as u64 + lse.len() as u64 + 4 * numbers as u64;
    Ok(Box::new(Operation {
        plan: gpu.attention.plan_merge(&merge)?,
        buffers: vec![
            (Role::PartialO, gpu.upload("partial o", &partial)),
            (Role::PartialLse, gpu.upload("partial lse", &lse)),
            (Role::O, gpu.buffer("o", 4 * numbers as u64)),
            (Role::Lse, gpu.buffer("lse", 4 * rows as u64)),
        ],
        output: 2,
        moved,
        expected,
        at: |n, _| n,
        shape,
        call: None,
    }))
}

impl Work for Operation {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode(encoder);
        }
    }
}

impl Case for Operation {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        let mut operands = Operands::default();
        for (role, buffer) in &self.buffers {
            operands = operands.with(*role, buffer);
        }
        self.call = Some(pollster::block_on(
            gpu.attention.prepare(&self.plan, &operands),
        )?);
        Ok(())
    }

    fn flops(&self) -> f64 {
        self.plan.flops() as f64
    }

    fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    fn moved_bytes(&self) -> Option<u64> {
        Some(self.moved)
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.buffers[self.output].1]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let all = decode(Element::F32, &outputs[0]);
        let of = |n| all[(self.at)(n, &self.shape)];
        let actual: Vec<f64> = (0..self.expected.len()).map(of).collect();
        Accuracy::of(Element::F32, 2, &actual, &self.expected)
    }
}

/// What the least dispatch costs.
struct Empty {
    pipeline: ComputePipeline,
    group: wgpu::BindGroup,
    word: Buffer,
}

/// One workgroup that writes a word.
pub fn empty(gpu: &Gpu, _: &Row) -> Result<Box<dyn Case>> {
    const TEXT: &str = "@group(0) @binding(0) var<storage, read_write> word: array<u32>;
        @compute @workgroup_size(1) fn main() { word[0] = 1065353216u; }";
    let pipeline = gpu.pipeline("empty", TEXT, &[])?;
    let word = gpu.buffer("word", 4);
    let group = gpu.bind(&pipeline, &[word.as_entire_binding()]);
    Ok(Box::new(Empty {
        pipeline,
        group,
        word,
    }))
}

impl Work for Empty {
    fn encode(&self, encoder: &mut CommandEncoder) {
        dispatch(encoder, &self.pipeline, &self.group, [1, 1, 1]);
    }
}

impl Case for Empty {
    fn prepare(&mut self, _: &Gpu) -> Result<()> {
        Ok(())
    }

    fn flops(&self) -> f64 {
        0.0
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.word]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        Accuracy::of(Element::F32, 1, &decode(Element::F32, &outputs[0]), &[1.0])
    }
}

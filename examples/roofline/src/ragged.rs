//! Sequences of different lengths, one after the other: as one ragged batch, or as a call for each.

use anyhow::Result;
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::problem::{CuSeqlens, Layout, Operand, Problem, Shape};
use wgpu_attention::{Call, Element, Operands, Plan, PlanOptions};

use crate::case::{Case, Row};
use crate::check::{self, Accuracy};
use crate::forward::strategy;
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

/// Where sequences of these lengths begin.
pub fn starts(lengths: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut starts = vec![0];
    for length in lengths {
        starts.push(starts[starts.len() - 1] + length);
    }
    starts
}

struct Ragged {
    /// One, or one for each sequence.
    problems: Vec<Problem>,
    choice: PlanOptions,
    plans: Vec<Plan>,
    /// Of all sequences together.
    inputs: Inputs,
    shape: Shape,
    starts: Vec<u32>,
    /// q, k, v, o and lse.
    buffers: [Buffer; 5],
    calls: Vec<Call>,
}

/// The case of a ragged row; where its params say `apart`, a call for each sequence, with tiles of its own.
pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let problem = &row.problem;
    let Some(CuSeqlens::Host(starts)) = &problem.cu_seqlens_q else {
        anyhow::bail!("the row states no sequences");
    };
    let total = starts[starts.len() - 1];
    let shape = Shape {
        batch: 1,
        q_len: total,
        kv_len: total,
        ..problem.shape
    };
    let problems = match row.params.contains("apart") {
        true => starts
            .windows(2)
            .map(|at| alone(problem, total, at[0], at[1] - at[0]))
            .collect(),
        false => vec![problem.clone()],
    };
    let choice = PlanOptions::default().with_strategy(strategy(row.strategy)?);
    let plans = plans(gpu, &problems, &choice)?;
    let inputs = Inputs::random(&Problem::new(shape, problem.q.element));
    let upload = |name, values: &[f64]| gpu.upload(name, &encode(problem.q.element, values));
    let o = problem.o.bytes([1, shape.q_heads, total], shape.value_dim);
    Ok(Box::new(Ragged {
        buffers: [
            upload("q", &inputs.q),
            upload("k", &inputs.k),
            upload("v", &inputs.v),
            gpu.buffer("o", o),
            gpu.buffer("lse", shape.rows() * 4),
        ],
        starts: starts.clone(),
        problems,
        choice,
        plans,
        inputs,
        shape,
        calls: Vec::new(),
    }))
}

/// The sequence of `len` tokens from `start` on, where it lies among all.
fn alone(ragged: &Problem, total: u32, start: u32, len: u32) -> Problem {
    let shape = Shape {
        batch: 1,
        q_len: len,
        kv_len: len,
        ..ragged.shape
    };
    let of = |element, heads: u32, dim: u32| {
        let layout = Layout::heads_first(heads, total, dim);
        Operand::new(element, layout.at(u64::from(start) * u64::from(dim)))
    };
    let mut problem = Problem::new(shape, ragged.q.element).with_mask(ragged.mask.clone());
    problem.q = of(ragged.q.element, shape.q_heads, shape.head_dim);
    problem.k = of(ragged.k.element, shape.kv_heads, shape.head_dim);
    problem.v = of(ragged.v.element, shape.kv_heads, shape.value_dim);
    problem.o = of(ragged.o.element, shape.q_heads, shape.value_dim);
    problem.lse = of(Element::F32, shape.q_heads, 1).layout;
    problem
}

fn plans(gpu: &Gpu, problems: &[Problem], choice: &PlanOptions) -> Result<Vec<Plan>> {
    let plans = problems
        .iter()
        .map(|problem| gpu.attention.plan_with(problem, choice));
    Ok(plans.collect::<Result<_, _>>()?)
}

impl Work for Ragged {
    fn encode(&self, encoder: &mut CommandEncoder) {
        for call in &self.calls {
            call.encode(encoder);
        }
    }
}

impl Case for Ragged {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        self.plans = plans(gpu, &self.problems, &self.choice)?;
        let [q, k, v, o, lse] = &self.buffers;
        let operands = Operands::new(q, k, v, o, lse);
        let calls = self.plans.iter().map(|plan| {
            let call = gpu.attention.prepare(plan, &operands);
            Ok(pollster::block_on(call)?)
        });
        self.calls = calls.collect::<Result<_>>()?;
        Ok(())
    }

    fn flops(&self) -> f64 {
        self.plans.iter().map(|plan| plan.flops() as f64).sum()
    }

    fn scratch_bytes(&self) -> u64 {
        self.plans.iter().map(Plan::scratch_bytes).sum()
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.buffers[3], &self.buffers[4]]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let o = decode(self.problems[0].o.element, &outputs[0]);
        let total = self.shape.q_len;
        let parts = self.starts.windows(2).map(|at| {
            let len = at[1] - at[0];
            let rows = |all: &[f64], heads: u32, dim: u32| -> Vec<f64> {
                let dim = dim as usize;
                let of_head = |h: u32| {
                    let first = (h * total + at[0]) as usize * dim;
                    &all[first..first + len as usize * dim]
                };
                (0..heads).flat_map(of_head).copied().collect()
            };
            let s = &self.shape;
            let [q, k, v] = [
                rows(&self.inputs.q, s.q_heads, s.head_dim),
                rows(&self.inputs.k, s.kv_heads, s.head_dim),
                rows(&self.inputs.v, s.kv_heads, s.value_dim),
            ];
            let problem = alone(&self.problems[0], total, at[0], len);
            let tensors = wgpu_attention::reference::Tensors::new(&q, &k, &v);
            check::forward(&problem, &tensors, &rows(&o, s.q_heads, s.value_dim))
        });
        Accuracy::worst(parts.collect())
    }
}

//! Blocks chosen from the input: the choice alone, and the attention that it feeds, as parts of one call.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::Role;
use wgpu_attention::internal::Variant;
use wgpu_attention::problem::{DeviceBlocks, Element, Problem};
use wgpu_attention::reference;
use wgpu_attention::{Call, Operands, Plan, PlanOptions};

use crate::case::{Case, Row};
use crate::check::{self, Accuracy};
use crate::forward::strategy;
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

/// Of lists, those that may differ from the f64 choice: two blocks' scores may be nearer to each other than f32 tells.
const LISTS_OFF: f64 = 1e-3;

struct Select {
    problem: Problem,
    plan: Plan,
    /// The steps that are timed.
    steps: Range<usize>,
    chooses: bool,
    lists: DeviceBlocks,
    inputs: Inputs,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    o: Buffer,
    lse: Buffer,
    block_lists: Buffer,
    call: Option<Call>,
}

/// The steps that choose.
pub fn choice(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    case(gpu, row, true)
}

/// The steps after them.
pub fn attention(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    case(gpu, row, false)
}

fn case(gpu: &Gpu, row: &Row, chooses: bool) -> Result<Box<dyn Case>> {
    let problem = row.problem.clone();
    let forced = PlanOptions::default().with_strategy(strategy(row.strategy)?);
    let plan = gpu.attention.plan_with(&problem, &forced)?;
    let is_attention = |variant: &Variant| matches!(variant, Variant::Prefill(_));
    let first = plan
        .steps()
        .iter()
        .position(|step| is_attention(&step.variant()));
    let first = first.context("the plan has no attention step")?;
    let steps = match chooses {
        true => 0..first,
        false => first..plan.steps().len(),
    };
    let inputs = Inputs::random(&problem);
    let shape = problem.shape;
    let lists = problem.mask.device_blocks(&shape);
    let lists = lists.context("the problem chooses no blocks")?;
    let rows = [shape.batch, shape.q_heads, shape.q_len];
    Ok(Box::new(Select {
        q: gpu.upload("q", &encode(problem.q.element, &inputs.q)),
        k: gpu.upload("k", &encode(problem.k.element, &inputs.k)),
        v: gpu.upload("v", &encode(problem.v.element, &inputs.v)),
        o: gpu.buffer("o", problem.o.bytes(rows, shape.value_dim)),
        lse: gpu.buffer("lse", shape.rows() * 4),
        block_lists: gpu.buffer("block_lists", lists.words() * 4),
        call: None,
        problem,
        plan,
        steps,
        chooses,
        lists,
        inputs,
    }))
}

impl Work for Select {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode_steps(encoder, self.steps.clone());
        }
    }
}

impl Case for Select {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        let operands = Operands::new(&self.q, &self.k, &self.v, &self.o, &self.lse)
            .with(Role::BlockLists, &self.block_lists);
        let call = pollster::block_on(gpu.attention.prepare(&self.plan, &operands))?;
        ensure!(
            call.plan().steps().len() == self.plan.steps().len(),
            "the call is not as it was planned"
        );
        // The attention finds the lists made.
        gpu.time(|encoder| call.encode_steps(encoder, 0..self.steps.start))?;
        self.call = Some(call);
        Ok(())
    }

    fn flops(&self) -> f64 {
        let steps = &self.plan.steps()[self.steps.clone()];
        steps.iter().map(|step| step.cost.flops as f64).sum()
    }

    fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    fn outputs(&self) -> Vec<&Buffer> {
        match self.chooses {
            true => vec![&self.block_lists],
            false => vec![&self.o, &self.lse],
        }
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let tensors = self.inputs.tensors();
        if !self.chooses {
            let o = decode(Element::F32, &outputs[0]);
            let problem = reference::selected(&self.problem, &tensors);
            return check::forward(&problem, &tensors, &o);
        }
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&outputs[0]);
        let want = reference::selection(&self.problem, &tensors);
        let differs = |(n, want): (usize, &Vec<u32>)| {
            let got = self.lists.list(&words, n);
            !got.iter().map(|(block, _)| block).eq(want)
        };
        let off = want
            .iter()
            .enumerate()
            .filter(|&list| differs(list))
            .count();
        Accuracy {
            max_error: off as f64 / want.len() as f64,
            allowed: LISTS_OFF,
        }
    }
}

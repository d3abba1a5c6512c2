//! The library's forward pass.

use anyhow::{Result, bail};
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::Role;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::{Call, Operands, Plan, PlanOptions};

use crate::case::{Case, Row};
use crate::check::{self, Accuracy};
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

/// Operands of one problem, and the call once it is prepared.
pub struct Forward {
    problem: Problem,
    choice: PlanOptions,
    plan: Plan,
    inputs: Inputs,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    o: Buffer,
    lse: Buffer,
    bias: Option<Buffer>,
    call: Option<Call>,
}

/// The case of a row whose strategy can run here.
pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let problem = row.problem.clone();
    let choice = PlanOptions::default().with_strategy(strategy(row.strategy)?);
    let plan = gpu.attention.plan_with(&problem, &choice)?;
    let inputs = Inputs::random(&problem);
    let shape = problem.shape;
    let rows = [shape.batch, shape.q_heads, shape.q_len];
    Ok(Box::new(Forward {
        q: gpu.upload("q", &encode(problem.q.element, &inputs.q)),
        k: gpu.upload("k", &encode(problem.k.element, &inputs.k)),
        v: gpu.upload("v", &encode(problem.v.element, &inputs.v)),
        o: gpu.buffer("o", problem.o.bytes(rows, shape.value_dim)),
        lse: gpu.buffer("lse", shape.rows() * 4),
        bias: inputs
            .bias
            .as_ref()
            .map(|bias| gpu.upload("bias", &encode(Element::F32, bias))),
        call: None,
        problem,
        choice,
        plan,
        inputs,
    }))
}

pub fn strategy(name: &str) -> Result<StrategyKind> {
    match name {
        "subgroup" => Ok(StrategyKind::Subgroup),
        "workgroup" => Ok(StrategyKind::Workgroup),
        _ => bail!("no strategy is called {name}"),
    }
}

impl Work for Forward {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode(encoder);
        }
    }
}

impl Case for Forward {
    /// Plans, and composes and compiles what no row before has needed.
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        self.plan = gpu.attention.plan_with(&self.problem, &self.choice)?;
        let mut operands = Operands::new(&self.q, &self.k, &self.v, &self.o, &self.lse);
        if let Some(bias) = &self.bias {
            operands = operands.with(Role::Bias, bias);
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

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.o, &self.lse]
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let o = decode(self.problem.o.element, &outputs[0]);
        check::forward(&self.problem, &self.inputs.tensors(), &o)
    }
}

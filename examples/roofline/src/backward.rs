//! The library's backward pass, whole or one of its kernels alone.

use std::ops::Range;

use anyhow::{Context, Result};
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::{Backward, Call, Operands, Plan, PlanOptions};

use crate::case::{Case, Row};
use crate::check::{Accuracy, Saved};
use crate::forward::strategy;
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode, output_gradient};
use crate::timing::Work;

/// Operands of one problem with what its forward pass kept, and the call once it is prepared.
pub struct Gradients {
    problem: Problem,
    plan: Plan,
    kernel: &'static str,
    /// Those of `plan` that are timed.
    steps: Range<usize>,
    inputs: Inputs,
    saved: Saved,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    o: Buffer,
    lse: Buffer,
    d_o: Buffer,
    dq: Buffer,
    dk: Buffer,
    dv: Buffer,
    call: Option<Call>,
}

/// The case of a row: `backward`, or `grad_q` or `grad_kv` alone. The forward pass that makes o and lse runs here.
pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    Ok(Box::new(Gradients::open(gpu, row)?))
}

fn open(gpu: &Gpu, row: &Row, kernel: &'static str) -> Result<Gradients> {
    let problem = row.problem.clone();
    let choice = PlanOptions::default().with_strategy(strategy(row.strategy)?);
    let backward = Backward::new(problem.clone(), Element::F32);
    let plan = gpu.attention.plan_backward_with(&backward, &choice)?;
    let steps = steps_of(&plan, kernel)?;
    let inputs = Inputs::random(&problem);
    let d_o = output_gradient(&problem);
    let s = problem.shape;
    let upload = |label, values: &[f64]| gpu.upload(label, &encode(problem.q.element, values));
    let zeros = |label, values: usize| gpu.buffer(label, values as u64 * 4);
    let mut case = Gradients {
        q: upload("q", &inputs.q),
        k: upload("k", &inputs.k),
        v: upload("v", &inputs.v),
        d_o: upload("do", &d_o),
        o: zeros("o", d_o.len()),
        lse: gpu.buffer("lse", s.rows() * 4),
        dq: zeros("dq", inputs.q.len()),
        dk: zeros("dk", inputs.k.len()),
        dv: zeros("dv", inputs.v.len()),
        saved: Saved {
            o: Vec::new(),
            lse: Vec::new(),
            d_o,
        },
        kernel,
        call: None,
        problem,
        plan,
        steps,
        inputs,
    };
    case.forward(gpu, &choice)?;
    Ok(case)
}

/// The steps of a kernel; all of them for `backward`.
fn steps_of(plan: &Plan, kernel: &str) -> Result<Range<usize>> {
    let steps = plan.steps();
    if kernel.ends_with("backward") {
        return Ok(0..steps.len());
    }
    let is_of = |n: &usize| steps[*n].variant().entry() == kernel;
    let first = (0..steps.len()).find(is_of).context("no such kernel")?;
    let last = (0..steps.len()).rfind(is_of).context("no such kernel")?;
    Ok(first..last + 1)
}

/// The buffers of a backward pass.
pub struct Buffers<'a> {
    /// q, k, v, lse, o and dO.
    pub inputs: [&'a Buffer; 6],
    /// dq, dk and dv.
    pub outputs: [&'a Buffer; 3],
}

impl Gradients {
    /// Operands with what the forward pass kept; it runs here. A row of another implementation takes all gradients.
    pub fn open(gpu: &Gpu, row: &Row) -> Result<Self> {
        open(
            gpu,
            row,
            match row.kernel {
                "backward_naive" => "backward",
                kernel => kernel,
            },
        )
    }

    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    pub fn buffers(&self) -> Buffers<'_> {
        Buffers {
            inputs: [&self.q, &self.k, &self.v, &self.lse, &self.o, &self.d_o],
            outputs: [&self.dq, &self.dk, &self.dv],
        }
    }

    fn operands(&self) -> Operands<'_> {
        Operands::new(&self.q, &self.k, &self.v, &self.o, &self.lse)
    }

    /// Makes o and lse.
    fn forward(&mut self, gpu: &Gpu, choice: &PlanOptions) -> Result<()> {
        let plan = gpu.attention.plan_with(&self.problem, choice)?;
        let call = pollster::block_on(gpu.attention.prepare(&plan, &self.operands()))?;
        gpu.time(|encoder| call.encode(encoder))?;
        self.saved.o = decode(self.problem.o.element, &gpu.download(&self.o)?);
        self.saved.lse = decode(Element::F32, &gpu.download(&self.lse)?);
        Ok(())
    }
}

impl Work for Gradients {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode_steps(encoder, self.steps.clone());
        }
    }
}

impl Case for Gradients {
    /// Steps before those that are timed run here, once.
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        let operands = self
            .operands()
            .backward(&self.d_o, &self.dq, &self.dk, &self.dv);
        let call = pollster::block_on(gpu.attention.prepare(&self.plan, &operands))?;
        gpu.time(|encoder| call.encode_steps(encoder, 0..self.steps.start))?;
        self.call = Some(call);
        Ok(())
    }

    /// The products of grad_q and grad_kv; delta's are not counted.
    fn flops(&self) -> f64 {
        let steps = self.plan.steps()[self.steps.clone()].iter();
        let products = steps.filter(|step| step.variant().entry().starts_with("grad"));
        products.map(|step| step.cost.flops as f64).sum()
    }

    fn scratch_bytes(&self) -> u64 {
        self.plan.scratch_bytes()
    }

    fn outputs(&self) -> Vec<&Buffer> {
        match self.kernel {
            "grad_q" => vec![&self.dq],
            "grad_kv" => vec![&self.dk, &self.dv],
            _ => vec![&self.dq, &self.dk, &self.dv],
        }
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let values: Vec<_> = outputs.iter().map(|x| decode(Element::F32, x)).collect();
        let tensors = self.inputs.tensors();
        let mut worst = Vec::new();
        if self.kernel != "grad_kv" {
            worst.push(self.saved.dq(&self.problem, &tensors, &values[0]));
        }
        if let [.., dk, dv] = &values[..] {
            worst.extend(self.saved.dk_dv(&self.problem, &tensors, dk, dv));
        }
        Accuracy::worst(worst)
    }
}

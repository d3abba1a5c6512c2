//! The rotation pass as an operation of its own: q's rows rotated into another buffer.

use anyhow::{Context, Result};
use wgpu::{Buffer, CommandEncoder};
use wgpu_attention::Plan;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{Call, Operands, Rotation};

use crate::case::{Case, Row};
use crate::check::Accuracy;
use crate::gpu::Gpu;
use crate::inputs::{Inputs, decode, encode};
use crate::timing::Work;

struct Rotate {
    rotation: Rotation,
    plan: Plan,
    inputs: Inputs,
    rows: Buffer,
    rotated: Buffer,
    call: Option<Call>,
}

pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let problem = &row.problem;
    let rotary = problem
        .position
        .rotary
        .clone()
        .context("the row has no rotary scheme")?;
    let shape = &problem.shape;
    let sizes = [shape.batch, shape.q_heads, shape.q_len];
    let element = problem.q.element;
    let rotation = Rotation::new(rotary, sizes, element);
    let plan = gpu.attention.plan_rotation(&rotation)?;
    let inputs = Inputs::random(problem);
    Ok(Box::new(Rotate {
        rows: gpu.upload("rows", &encode(element, &inputs.q)),
        rotated: gpu.buffer("rotated", problem.q.bytes(sizes, shape.head_dim)),
        call: None,
        rotation,
        plan,
        inputs,
    }))
}

impl Work for Rotate {
    fn encode(&self, encoder: &mut CommandEncoder) {
        if let Some(call) = &self.call {
            call.encode(encoder);
        }
    }
}

impl Case for Rotate {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        self.plan = gpu.attention.plan_rotation(&self.rotation)?;
        let operands = Operands::rotation(&self.rows, &self.rotated);
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
        Some(self.rows.size() + self.rotated.size())
    }

    fn outputs(&self) -> Vec<&Buffer> {
        vec![&self.rotated]
    }

    /// Every 997th row against the rotation in f64.
    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        let rotated = decode(self.rotation.rotated.element, &outputs[0]);
        let (rotary, len) = (&self.rotation.rotary, self.rotation.len as usize);
        let dim = rotary.head_dim as usize;
        let rows = rotated.len() / dim;
        let (mut actual, mut expected) = (Vec::new(), Vec::new());
        for row in (0..rows).step_by(997) {
            actual.extend_from_slice(&rotated[row * dim..][..dim]);
            expected.extend(rotate(
                rotary,
                &self.inputs.q[row * dim..][..dim],
                row % len,
            ));
        }
        Accuracy::of(self.rotation.rotated.element, 2, &actual, &expected)
    }
}

/// One row at position p, by the formula.
fn rotate(rotary: &Rotary, x: &[f64], p: usize) -> Vec<f64> {
    let mut y = x.to_vec();
    for (n, theta) in rotary.inv_freq(1).unwrap_or_default().iter().enumerate() {
        let (a, b) = rotary.layout.channels(n as u32, rotary.dim);
        let (a, b) = (a as usize, b as usize);
        let (sin, cos) = (p as f64 * theta).sin_cos();
        y[a] = x[a] * cos - x[b] * sin;
        y[b] = x[b] * cos + x[a] * sin;
    }
    y
}

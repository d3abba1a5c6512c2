//! The backward pass as a framework without a fused kernel computes it: S, P, dP and dS go through memory between five
//! products and one elementwise kernel.
//!
//! For f32, nothing masked, lengths and head sizes that are multiples of 32, one KV head per query head.

use anyhow::{Result, ensure};
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePipeline};
use wgpu_attention::problem::{Element, Mask};

use crate::backward::Gradients;
use crate::case::{Case, Row};
use crate::check::Accuracy;
use crate::gpu::{Gpu, dispatch};
use crate::timing::Work;

const UNIT: u32 = 32;

struct Naive {
    /// The operands, what forward kept, and where the gradients go.
    fused: Gradients,
    scores: Buffer,
    gradients: Buffer,
    steps: Vec<(ComputePipeline, BindGroup, [u32; 3])>,
}

pub fn case(gpu: &Gpu, row: &Row) -> Result<Box<dyn Case>> {
    let (problem, s) = (&row.problem, row.problem.shape);
    let sizes = [s.q_len, s.kv_len, s.head_dim, s.value_dim];
    ensure!(
        problem.q.element == Element::F32 && problem.mask == Mask::default() && s.group() == 1,
        "the naive backward pass takes f32, no mask, and one KV head per query head"
    );
    ensure!(
        sizes.iter().all(|n| n.is_multiple_of(UNIT)),
        "the naive backward pass takes sizes in steps of {UNIT}"
    );
    let bytes = s.rows() * u64::from(s.kv_len) * 4;
    Ok(Box::new(Naive {
        fused: Gradients::open(gpu, row)?,
        scores: gpu.buffer("scores", bytes),
        gradients: gpu.buffer("gradients of scores", bytes),
        steps: Vec::new(),
    }))
}

/// A matrix of each head as a product reads it: rows × columns, or transposed.
struct Matrix<'a> {
    buffer: &'a Buffer,
    columns: u32,
    transposed: bool,
}

impl Matrix<'_> {
    /// Strides from row to row and from column to column of what is read.
    fn strides(&self) -> (u32, u32) {
        match self.transposed {
            false => (self.columns, 1),
            true => (1, self.columns),
        }
    }
}

impl Naive {
    /// C `[rows, columns]` = A·B with `inner` terms.
    fn product(
        &mut self,
        gpu: &Gpu,
        (a, b): (Matrix<'_>, Matrix<'_>),
        c: &Buffer,
        [rows, inner, columns]: [u32; 3],
    ) -> Result<()> {
        let ((a_row, a_inner), (b_inner, b_column)) = (a.strides(), b.strides());
        let constants = [
            ("ROWS", rows),
            ("COLUMNS", columns),
            ("INNER", inner),
            ("A_ROW", a_row),
            ("A_INNER", a_inner),
            ("B_INNER", b_inner),
            ("B_COLUMN", b_column),
        ]
        .map(|(name, x)| (name, f64::from(x)));
        let wgsl = include_str!("naive/product.wgsl");
        let pipeline = gpu.pipeline("naive product", wgsl, &constants)?;
        let buffers = [a.buffer, b.buffer, c].map(|x| x.as_entire_binding());
        let bindings = gpu.bind(&pipeline, &buffers);
        let heads = self.fused.problem().shape.q_heads * self.fused.problem().shape.batch;
        let grid = [columns / UNIT, rows / UNIT, heads];
        self.steps.push((pipeline, bindings, grid));
        Ok(())
    }

    /// P and dS from S and dP.
    fn weights(&mut self, gpu: &Gpu) -> Result<()> {
        let (problem, operands) = (self.fused.problem(), self.fused.buffers());
        let s = problem.shape;
        let constants = [
            ("KV_LEN", f64::from(s.kv_len)),
            ("DIM", f64::from(s.value_dim)),
            ("SCALE", f64::from(problem.scale())),
        ];
        let wgsl = include_str!("naive/gradients.wgsl");
        let pipeline = gpu.pipeline("naive gradients", wgsl, &constants)?;
        let [.., lse, o, d_o] = operands.inputs;
        let buffers = [&self.scores, &self.gradients, lse, o, d_o];
        let bindings = gpu.bind(&pipeline, &buffers.map(|x| x.as_entire_binding()));
        self.steps
            .push((pipeline, bindings, [s.rows() as u32, 1, 1]));
        Ok(())
    }
}

impl Work for Naive {
    fn encode(&self, encoder: &mut CommandEncoder) {
        for (pipeline, bindings, grid) in &self.steps {
            dispatch(encoder, pipeline, bindings, *grid);
        }
    }
}

impl Case for Naive {
    fn prepare(&mut self, gpu: &Gpu) -> Result<()> {
        self.steps.clear();
        let s = self.fused.problem().shape;
        let (n, m, d, dv) = (s.q_len, s.kv_len, s.head_dim, s.value_dim);
        let operands = self.fused.buffers();
        let [q, k, v, _, _, d_o] = operands.inputs.map(Clone::clone);
        let [dq, dk, dv_out] = operands.outputs.map(Clone::clone);
        let (scores, gradients) = (self.scores.clone(), self.gradients.clone());
        let plain = |buffer, columns| Matrix {
            buffer,
            columns,
            transposed: false,
        };
        let transposed = |buffer, columns| Matrix {
            buffer,
            columns,
            transposed: true,
        };
        // S = Q·Kᵀ, dP = dO·Vᵀ
        self.product(gpu, (plain(&q, d), transposed(&k, d)), &scores, [n, d, m])?;
        self.product(
            gpu,
            (plain(&d_o, dv), transposed(&v, dv)),
            &gradients,
            [n, dv, m],
        )?;
        self.weights(gpu)?;
        // dV = Pᵀ·dO, dQ = dS·K, dK = dSᵀ·Q
        self.product(
            gpu,
            (transposed(&scores, m), plain(&d_o, dv)),
            &dv_out,
            [m, n, dv],
        )?;
        self.product(gpu, (plain(&gradients, m), plain(&k, d)), &dq, [n, m, d])?;
        self.product(
            gpu,
            (transposed(&gradients, m), plain(&q, d)),
            &dk,
            [m, n, d],
        )
    }

    /// Five products of the whole matrix.
    fn flops(&self) -> f64 {
        let s = self.fused.problem().shape;
        let pairs = s.rows() as f64 * f64::from(s.kv_len);
        2.0 * pairs * f64::from(3 * s.head_dim + 2 * s.value_dim)
    }

    fn scratch_bytes(&self) -> u64 {
        self.scores.size() + self.gradients.size()
    }

    fn outputs(&self) -> Vec<&Buffer> {
        self.fused.buffers().outputs.to_vec()
    }

    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy {
        self.fused.accuracy(outputs)
    }
}

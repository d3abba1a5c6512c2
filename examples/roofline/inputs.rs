//! Random operands, as numbers for the reference and as bytes for the device.

#[allow(dead_code)] // The tests use the rest.
#[path = "../../tests/support/tensor.rs"]
mod tensor;

use wgpu_attention::problem::Problem;
use wgpu_attention::reference::Tensors;

pub use tensor::{decode, encode};

/// q, k and v in heads-first order, already rounded to the problem's element.
pub struct Inputs {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
}

impl Inputs {
    /// Standard normal, the same for every run.
    pub fn random(problem: &Problem) -> Self {
        let shape = &problem.shape;
        let queries = shape.rows() as usize;
        let keys = [shape.batch, shape.kv_heads, shape.kv_len];
        let keys: usize = keys.iter().map(|&n| n as usize).product();
        let draw = |seed, operand: &wgpu_attention::problem::Operand, rows: usize, dim: u32| {
            let mut values = tensor::normal(seed, rows * dim as usize);
            for x in &mut values {
                *x = tensor::round(operand.element, *x);
            }
            values
        };
        Self {
            q: draw(0, &problem.q, queries, shape.head_dim),
            k: draw(1, &problem.k, keys, shape.head_dim),
            v: draw(2, &problem.v, keys, shape.value_dim),
        }
    }

    /// What the reference computes with.
    pub fn tensors(&self) -> Tensors<'_> {
        Tensors::new(&self.q, &self.k, &self.v)
    }
}

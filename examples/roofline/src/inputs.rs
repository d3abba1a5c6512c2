//! Random operands, as numbers for the reference and as bytes for the device.

#[allow(dead_code)] // The tests use the rest.
#[path = "../../../tests/support/tensor.rs"]
mod tensor;

use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::reference::{Bias, Tensors};

pub use tensor::{decode, encode};

/// q, k and v in heads-first order, already rounded to the problem's element.
pub struct Inputs {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
    /// `[Hq, Nq, Nk]` of one batch, where the problem has a dense bias.
    pub bias: Option<Vec<f64>>,
    heads: u32,
    rows: u32,
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
            bias: problem.score.bias.map(|_| {
                let count = (shape.q_heads * shape.q_len * shape.kv_len) as usize;
                let mut values = tensor::normal(3, count);
                for x in &mut values {
                    *x = tensor::round(Element::F32, *x);
                }
                values
            }),
            heads: shape.q_heads,
            rows: shape.q_len,
        }
    }

    /// What the reference computes with.
    pub fn tensors(&self) -> Tensors<'_> {
        let bias = self
            .bias
            .as_deref()
            .map(|values| Bias::new(values, [1, self.heads, self.rows]));
        Tensors::new(&self.q, &self.k, &self.v).with_bias(bias)
    }
}

/// dO: standard normal, rounded to the element of o.
pub fn output_gradient(problem: &Problem) -> Vec<f64> {
    let shape = &problem.shape;
    let count = shape.rows() as usize * shape.value_dim as usize;
    let values = tensor::normal(4, count).into_iter();
    values
        .map(|x| tensor::round(problem.o.element, x))
        .collect()
}

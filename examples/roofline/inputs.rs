//! Random operands, as numbers for the reference and as bytes for the device.

use half::{bf16, f16};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::reference::Tensors;

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
        let keys = count(&[shape.batch, shape.kv_heads, shape.kv_len]);
        let mut random = StdRng::seed_from_u64(0);
        let mut draw = |element: Element, n: usize| -> Vec<f64> {
            let normal = |_| round(element, StandardNormal.sample(&mut random));
            (0..n).map(normal).collect()
        };
        Self {
            q: draw(
                problem.q.element,
                shape.rows() as usize * shape.head_dim as usize,
            ),
            k: draw(problem.k.element, keys * shape.head_dim as usize),
            v: draw(problem.v.element, keys * shape.value_dim as usize),
        }
    }

    /// What the reference computes with.
    pub fn tensors(&self) -> Tensors<'_> {
        Tensors::new(&self.q, &self.k, &self.v)
    }
}

/// As it is stored, in whole 32-bit words.
pub fn encode(element: Element, values: &[f64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = match element {
        Element::F32 => values
            .iter()
            .flat_map(|&x| (x as f32).to_le_bytes())
            .collect(),
        Element::F16 => values
            .iter()
            .flat_map(|&x| f16::from_f64(x).to_le_bytes())
            .collect(),
        Element::BF16 => values
            .iter()
            .flat_map(|&x| bf16::from_f64(x).to_le_bytes())
            .collect(),
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The opposite of [`encode`].
pub fn decode(element: Element, bytes: &[u8]) -> Vec<f64> {
    let half = |bits: fn(u16) -> f64| -> Vec<f64> {
        let words = bytes.chunks_exact(2);
        words
            .map(|b| bits(u16::from_le_bytes([b[0], b[1]])))
            .collect()
    };
    match element {
        Element::F32 => bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect(),
        Element::F16 => half(|bits| f16::from_bits(bits).to_f64()),
        Element::BF16 => half(|bits| bf16::from_bits(bits).to_f64()),
    }
}

/// The nearest number that `element` can store.
fn round(element: Element, x: f64) -> f64 {
    match element {
        Element::F32 => f64::from(x as f32),
        Element::F16 => f16::from_f64(x).to_f64(),
        Element::BF16 => bf16::from_f64(x).to_f64(),
    }
}

fn count(sizes: &[u32]) -> usize {
    sizes.iter().map(|&n| n as usize).product()
}

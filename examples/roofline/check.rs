//! Is the answer right? Sampled rows against the definition in f64.

use wgpu_attention::problem::{Element, Problem};
use wgpu_attention::reference::{self, Tensors};

/// Rows of o that are compared.
const SAMPLES: u64 = 96;

/// How far an answer is from the f64 one, both relative to the root mean square of the latter.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    pub max_error: f64,
    pub allowed: f64,
}

impl Accuracy {
    /// Compares what was computed with what is right. `element` is how the former is stored, `terms` how many each
    /// number is the sum of: rounding errors of f32 grow with the root of it.
    pub fn of(element: Element, terms: u32, actual: &[f64], expected: &[f64]) -> Self {
        let squares: f64 = expected.iter().map(|x| x * x).sum();
        let rms = (squares / expected.len() as f64).sqrt();
        let peak = expected.iter().fold(0.0, |peak: f64, x| peak.max(x.abs()));
        let max_error = actual
            .iter()
            .zip(expected)
            .map(|(a, e)| (a - e).abs())
            // `f64::max` would pass over a NaN.
            .fold(
                0.0,
                |worst, error| if error <= worst { worst } else { error },
            );
        Self {
            max_error: max_error / rms,
            allowed: 1e-5 * (f64::from(terms) / 4096.0).sqrt().max(1.0)
                + half_unit(element) * peak / rms,
        }
    }

    pub fn is_right(&self) -> bool {
        self.max_error <= self.allowed
    }
}

/// Compares sampled rows of o `[B, Hq, Nq, Dv]`.
pub fn forward(problem: &Problem, tensors: &Tensors, o: &[f64]) -> Accuracy {
    let shape = &problem.shape;
    let dim = shape.value_dim as usize;
    let (mut actual, mut expected) = (Vec::new(), Vec::new());
    for row in samples(shape.rows()) {
        let (head, i) = (row / u64::from(shape.q_len), row % u64::from(shape.q_len));
        let (b, h) = (
            head / u64::from(shape.q_heads),
            head % u64::from(shape.q_heads),
        );
        actual.extend_from_slice(&o[row as usize * dim..][..dim]);
        expected.extend(reference::forward_row(problem, tensors, b as u32, h as u32, i as u32).0);
    }
    Accuracy::of(problem.o.element, shape.kv_len, &actual, &expected)
}

/// The first and the last row and others spread evenly; the odd distance meets every place in a tile.
fn samples(rows: u64) -> impl Iterator<Item = u64> {
    let distance = (rows / SAMPLES) | 1;
    (0..rows).step_by(distance as usize).chain([rows - 1])
}

/// Half of the distance between neighbouring numbers, relative to the number.
fn half_unit(element: Element) -> f64 {
    match element {
        Element::F32 => 0.0,
        Element::F16 => 2f64.powi(-11),
        Element::BF16 => 2f64.powi(-8),
    }
}

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

    /// The same for gradients. Their terms are differences, which round more: of 4096 terms a plain loop in f32 is off by
    /// 1.1e-5 itself, so twice as much is allowed.
    fn of_gradient(terms: u32, actual: &[f64], expected: &[f64]) -> Self {
        let plain = Self::of(Element::F32, terms, actual, expected);
        Self {
            allowed: 2.0 * plain.allowed,
            ..plain
        }
    }

    /// Of several answers the one that is nearest to being wrong.
    pub fn worst(all: Vec<Self>) -> Self {
        let part = |one: &Self| one.max_error / one.allowed;
        let first = Self {
            max_error: 0.0,
            allowed: 1.0,
        };
        all.into_iter().fold(first, |worst, one| {
            // A NaN is the worst of all.
            if part(&one) <= part(&worst) {
                worst
            } else {
                one
            }
        })
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
        _ => unreachable!("no output is {element}"),
    }
}

/// What a backward pass is given: o and lse as the forward pass left them, and dO.
pub struct Saved {
    pub o: Vec<f64>,
    pub lse: Vec<f64>,
    pub d_o: Vec<f64>,
}

/// A visible pair: P and its gradient dS.
struct Pair {
    p: f64,
    ds: f64,
}

/// Rows of dq, dk and dv that are compared, in every head.
const GRADIENT_SAMPLES: u32 = 5;

impl Saved {
    /// Compares sampled rows of dq with `scale·dS·K`.
    pub fn dq(&self, problem: &Problem, tensors: &Tensors, dq: &[f64]) -> Accuracy {
        let (s, dim) = (&problem.shape, problem.shape.head_dim as usize);
        let (mut actual, mut expected) = (Vec::new(), Vec::new());
        for h in 0..s.q_heads {
            for i in spread(s.q_len) {
                let mut row = vec![0.0; dim];
                for j in 0..s.kv_len {
                    if let Some(pair) = self.pair(problem, tensors, (h, i, j)) {
                        let ds = pair.ds * f64::from(problem.scale());
                        add(&mut row, ds, of(tensors.k, h, s.kv_len, j, dim));
                    }
                }
                actual.extend_from_slice(of(dq, h, s.q_len, i, dim));
                expected.extend(row);
            }
        }
        Accuracy::of_gradient(s.kv_len, &actual, &expected)
    }

    /// Compares sampled rows of dk with `scale·dSᵀ·Q` and of dv with `Pᵀ·dO`.
    pub fn dk_dv(
        &self,
        problem: &Problem,
        tensors: &Tensors,
        dk: &[f64],
        dv: &[f64],
    ) -> [Accuracy; 2] {
        let s = &problem.shape;
        let (dim, value_dim) = (s.head_dim as usize, s.value_dim as usize);
        let [mut got_k, mut got_v, mut want_k, mut want_v] = [const { Vec::new() }; 4];
        for h in 0..s.q_heads {
            for j in spread(s.kv_len) {
                let (mut k_row, mut v_row) = (vec![0.0; dim], vec![0.0; value_dim]);
                for i in 0..s.q_len {
                    if let Some(pair) = self.pair(problem, tensors, (h, i, j)) {
                        let ds = pair.ds * f64::from(problem.scale());
                        add(&mut k_row, ds, of(tensors.q, h, s.q_len, i, dim));
                        add(&mut v_row, pair.p, of(&self.d_o, h, s.q_len, i, value_dim));
                    }
                }
                got_k.extend_from_slice(of(dk, h, s.kv_len, j, dim));
                got_v.extend_from_slice(of(dv, h, s.kv_len, j, value_dim));
                want_k.extend(k_row);
                want_v.extend(v_row);
            }
        }
        [(got_k, want_k), (got_v, want_v)]
            .map(|(got, want)| Accuracy::of_gradient(s.q_len, &got, &want))
    }

    /// P = e^{s − lse} and dS = P·(dP − Δ), for one batch, one KV head per query head and plain scores.
    fn pair(
        &self,
        problem: &Problem,
        tensors: &Tensors,
        (h, i, j): (u32, u32, u32),
    ) -> Option<Pair> {
        if !reference::visible(problem, tensors, 0, h, i, j) {
            return None;
        }
        let s = &problem.shape;
        let (dim, value_dim) = (s.head_dim as usize, s.value_dim as usize);
        let product = dot(
            of(tensors.q, h, s.q_len, i, dim),
            of(tensors.k, h, s.kv_len, j, dim),
        );
        let lse = of(&self.lse, h, s.q_len, i, 1)[0];
        let p = (product * f64::from(problem.scale()) - lse).exp();
        let d_o = of(&self.d_o, h, s.q_len, i, value_dim);
        let delta = dot(d_o, of(&self.o, h, s.q_len, i, value_dim));
        let dp = dot(d_o, of(tensors.v, h, s.kv_len, j, value_dim));
        Some(Pair {
            p,
            ds: p * (dp - delta),
        })
    }
}

/// Rows from the first to the last.
fn spread(rows: u32) -> impl Iterator<Item = u32> {
    (0..GRADIENT_SAMPLES).map(move |n| (rows - 1) * n / (GRADIENT_SAMPLES - 1))
}

/// A row of a `[heads, rows, dim]`.
fn of(values: &[f64], head: u32, rows: u32, row: u32, dim: usize) -> &[f64] {
    &values[(head as usize * rows as usize + row as usize) * dim..][..dim]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (sum, x) in sum.iter_mut().zip(row) {
        *sum += factor * x;
    }
}

//! Where tokens stand and how q and k rotate there, by the formulas: no table, no f32.

use crate::problem::position::{Precision, Rotary};
use crate::problem::{Positions, Problem};

use super::hadamard::hadamard;
use super::{Tensors, mask};

/// The position of query i.
pub(super) fn query_position(problem: &Problem, tensors: &Tensors, b: u32, i: u32) -> i64 {
    let at = || b as usize * problem.shape.q_len as usize + i as usize;
    match &problem.position.q_positions {
        Positions::Index => mask::diagonal(problem, tensors, b, i) - moved(problem, tensors, b),
        Positions::Host(p) => p[at()].into(),
        Positions::Device => device(tensors.q_positions)[at()].into(),
    }
}

/// The position of key j.
pub(super) fn key_position(problem: &Problem, tensors: &Tensors, b: u32, j: u32) -> i64 {
    let at = || b as usize * problem.shape.kv_len as usize + j as usize;
    match &problem.position.k_positions {
        Positions::Index if j < problem.mask.first => j.into(),
        Positions::Index => i64::from(j) - moved(problem, tensors, b),
        Positions::Host(p) => p[at()].into(),
        Positions::Device => device(tensors.k_positions)[at()].into(),
    }
}

/// How far all but the first keys have moved, where positions count within a ring.
fn moved(problem: &Problem, tensors: &Tensors, b: u32) -> i64 {
    match problem.position.within_cache {
        true => (i64::from(mask::len(problem, tensors, b)) - i64::from(problem.kept())).max(0),
        false => 0,
    }
}

fn device(positions: Option<&[i32]>) -> &[i32] {
    positions.expect("positions that live on the device are given as tensors")
}

/// q and k rotated by their positions, `τ_i·R q_i` and `R k_j`, and q by Hadamard matrices where k is; nothing where
/// neither is.
pub(super) struct Rotated(Option<(Vec<f64>, Vec<f64>)>);

impl Rotated {
    pub fn new(problem: &Problem, tensors: &Tensors) -> Self {
        let rotator = Rotator::new(problem, tensors);
        let rotated = rotator.map(|rotator| {
            let q = rotator.queries(tensors.q, 1.0);
            (q, rotator.keys(tensors.k, 1.0))
        });
        if !problem.k_hadamard {
            return Self(rotated);
        }
        let (q, k) = rotated.unwrap_or((tensors.q.to_vec(), tensors.k.to_vec()));
        Self(Some((hadamard(&q, problem.shape.head_dim), k)))
    }

    /// The tensors with q and k rotated.
    pub fn view<'a>(&'a self, tensors: &Tensors<'a>) -> Tensors<'a> {
        match &self.0 {
            Some((q, k)) => Tensors { q, k, ..*tensors },
            None => *tensors,
        }
    }
}

/// Gradients by rotated q and k brought back to q and k: the transpose of the rotation.
pub(super) fn rotate_back(
    problem: &Problem,
    tensors: &Tensors,
    dq: &mut Vec<f64>,
    dk: &mut Vec<f64>,
) {
    if let Some(rotator) = Rotator::new(problem, tensors) {
        *dq = rotator.queries(dq, -1.0);
        *dk = rotator.keys(dk, -1.0);
    }
}

struct Rotator<'a> {
    problem: &'a Problem,
    tensors: &'a Tensors<'a>,
    rotary: &'a Rotary,
    frequencies: Vec<f64>,
}

impl<'a> Rotator<'a> {
    fn new(problem: &'a Problem, tensors: &'a Tensors<'a>) -> Option<Self> {
        let rotary = problem.position.rotary.as_ref()?;
        let frequencies = rotary
            .inv_freq(length(problem))
            .expect("a validated problem");
        Some(Self {
            problem,
            tensors,
            rotary,
            frequencies,
        })
    }

    /// `direction` −1 rotates back: the transpose, every factor kept.
    fn queries(&self, q: &[f64], direction: f64) -> Vec<f64> {
        let (shape, heads) = (&self.problem.shape, self.problem.shape.q_heads);
        let rotate = |(n, row): (usize, &[f64])| {
            let (b, i) = (n as u32 / shape.q_len / heads, n as u32 % shape.q_len);
            let p = query_position(self.problem, self.tensors, b, i);
            let tau = self.rotary.temperature.map_or(1.0, |t| t.at(p as i32));
            self.row(row, p, 1.0, direction)
                .into_iter()
                .map(move |x| tau * x)
                .collect::<Vec<_>>()
        };
        q.chunks_exact(shape.head_dim as usize)
            .enumerate()
            .flat_map(rotate)
            .collect()
    }

    /// Keys that are rotated already stay, and so do their gradients.
    fn keys(&self, k: &[f64], direction: f64) -> Vec<f64> {
        if self.problem.position.k_rotated {
            return k.to_vec();
        }
        let (shape, heads) = (&self.problem.shape, self.problem.shape.kv_heads);
        let rotate = |(n, row): (usize, &[f64])| {
            let (b, j) = (n as u32 / shape.kv_len / heads, n as u32 % shape.kv_len);
            self.row(
                row,
                key_position(self.problem, self.tensors, b, j),
                -1.0,
                direction,
            )
        };
        k.chunks_exact(shape.head_dim as usize)
            .enumerate()
            .flat_map(rotate)
            .collect()
    }

    /// One row at position p; `side` is 1 for a query and −1 for a key, whose xPos factors are each other's inverse.
    fn row(&self, x: &[f64], p: i64, side: f64, direction: f64) -> Vec<f64> {
        let mut y = x.to_vec();
        for (n, theta) in self.frequencies.iter().enumerate() {
            let (first, second) = self.rotary.channels(n as u32);
            let (first, second) = (first as usize, second as usize);
            let angle = match self.rotary.precision {
                Precision::Exact => p as f64 * theta,
                Precision::AsTrained => f64::from(p as f32 * *theta as f32),
            };
            let (sin, cos) = (direction * angle).sin_cos();
            let factor = self.rotary.attention_factor() * xpos_factor(self.rotary, n, p, side);
            y[first] = factor * (x[first] * cos - x[second] * sin);
            y[second] = factor * (x[second] * cos + x[first] * sin);
        }
        y
    }
}

/// ζ_n^(±(p − centre)/scale_base), ζ_n = (2n/d + 0.4)/1.4 (2212.10554).
fn xpos_factor(rotary: &Rotary, n: usize, p: i64, side: f64) -> f64 {
    rotary.xpos.map_or(1.0, |xpos| {
        let zeta = (2.0 * n as f64 / f64::from(rotary.dim) + 0.4) / 1.4;
        zeta.powf(side * (p - i64::from(xpos.centre)) as f64 / xpos.scale_base)
    })
}

/// The context length that kinds depend on.
fn length(problem: &Problem) -> u32 {
    let position = &problem.position;
    let known = position.known_range(&problem.shape, &problem.mask);
    let range = position
        .range
        .clone()
        .or(known)
        .expect("a validated problem");
    position.length(&range)
}

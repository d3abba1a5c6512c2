//! Rows rotated by their positions in f32, by cosines and sines of f64 angles.

use wgpu_attention::problem::position::{Precision, Rotary};
use wgpu_attention::problem::{MAX_LEN, Offsets, Positions, Problem};
use wgpu_attention::reference::Tensors;

pub fn query_position(problem: &Problem, tensors: &Tensors, b: u32, i: u32) -> i64 {
    let given = &problem.position.q_positions;
    token(given, tensors.q_positions, problem.shape.q_len, b, i)
        .unwrap_or_else(|| offset(problem, tensors, b) + i64::from(i))
}

pub fn key_position(problem: &Problem, tensors: &Tensors, b: u32, j: u32) -> i64 {
    let given = &problem.position.k_positions;
    token(given, tensors.k_positions, problem.shape.kv_len, b, j).unwrap_or(j.into())
}

fn token(given: &Positions, device: Option<&[i32]>, len: u32, b: u32, n: u32) -> Option<i64> {
    let at = (b * len + n) as usize;
    match given {
        Positions::Index => None,
        Positions::Host(p) => Some(p[at].into()),
        Positions::Device => device.map(|p| p[at].into()),
    }
}

fn offset(problem: &Problem, tensors: &Tensors, b: u32) -> i64 {
    let (shape, limit) = (&problem.shape, MAX_LEN as i32);
    match &problem.mask.q_offset {
        Offsets::BottomRight => i64::from(shape.kv_len) - i64::from(shape.q_len),
        Offsets::Host(offsets) => offsets[b as usize].into(),
        Offsets::Device => tensors
            .q_offset
            .map_or(0, |offsets| offsets[b as usize].clamp(-limit, limit).into()),
    }
}

/// q and k in f32, rotated where a scheme rotates them: `τ·R q` and `R k`.
pub struct Rotated {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
}

impl Rotated {
    pub fn new(problem: &Problem, tensors: &Tensors) -> Self {
        let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let (mut q, mut k) = (narrow(tensors.q), narrow(tensors.k));
        if let Some(rotator) = Rotator::new(problem) {
            rotator.rotate(tensors, (&mut q, &mut k), Way::There);
        }
        if problem.k_hadamard {
            hadamard(&mut q, problem.shape.head_dim);
        }
        Self { q, k }
    }

    /// The gradients by rotated q and k to those by q and k. Of magnitudes, nothing cancels.
    pub fn back(
        &self,
        problem: &Problem,
        tensors: &Tensors,
        [dq, dk, _]: &mut [Vec<f32>; 3],
        magnitudes: bool,
    ) {
        let way = match magnitudes {
            true => Way::BackMagnitudes,
            false => Way::Back,
        };
        if let Some(rotator) = Rotator::new(problem) {
            rotator.rotate(tensors, (dq, dk), way);
        }
    }
}

/// Rows rotated by Walsh–Hadamard matrices, by sums and differences.
pub fn hadamard(rows: &mut [f32], dim: u32) {
    let n = 1usize << dim.trailing_zeros();
    for block in rows.chunks_exact_mut(n) {
        let mut apart = 1;
        while apart < n {
            for i in (0..n).filter(|i| i & apart == 0) {
                let (x, y) = (block[i], block[i + apart]);
                (block[i], block[i + apart]) = (x + y, x - y);
            }
            apart *= 2;
        }
        let factor = 1.0 / (n as f32).sqrt();
        block.iter_mut().for_each(|x| *x *= factor);
    }
}

/// How a row rotates.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    There,
    /// By the transpose.
    Back,
    BackMagnitudes,
}

/// The rotation of one problem, its frequencies computed once.
struct Rotator<'a> {
    problem: &'a Problem,
    rotary: &'a Rotary,
    inv_freq: Vec<f64>,
}

impl<'a> Rotator<'a> {
    fn new(problem: &'a Problem) -> Option<Self> {
        let (position, rotary) = (&problem.position, problem.position.rotary.as_ref()?);
        let known = position.known_range(&problem.shape, &problem.mask);
        let range = position.range.clone().or(known)?;
        let inv_freq = rotary.inv_freq(position.length(&range)).ok()?;
        Some(Self {
            problem,
            rotary,
            inv_freq,
        })
    }

    fn rotate(&self, tensors: &Tensors, (q, k): (&mut [f32], &mut [f32]), way: Way) {
        let s = &self.problem.shape;
        let dim = s.head_dim as usize;
        for (row, n) in q.chunks_exact_mut(dim).zip(0..) {
            let p = query_position(self.problem, tensors, n / s.q_len / s.q_heads, n % s.q_len);
            let tau = self.rotary.temperature.map_or(1.0, |t| t.at(p as i32)) as f32;
            self.rotate_row(row, p, 1.0, way);
            row.iter_mut().for_each(|x| *x *= tau);
        }
        if self.problem.position.k_rotated {
            return;
        }
        for (row, n) in k.chunks_exact_mut(dim).zip(0..) {
            let (b, j) = (n / s.kv_len / s.kv_heads, n % s.kv_len);
            self.rotate_row(row, key_position(self.problem, tensors, b, j), -1.0, way);
        }
    }

    /// `side` is 1 for a query and −1 for a key, whose xPos factors are each other's inverse.
    fn rotate_row(&self, x: &mut [f32], p: i64, side: f64, way: Way) {
        for (n, theta) in self.inv_freq.iter().enumerate() {
            let (first, second) = self.rotary.layout.channels(n as u32, self.rotary.dim);
            let (first, second) = (first as usize, second as usize);
            let angle = match self.rotary.precision {
                Precision::Exact => p as f64 * theta,
                Precision::AsTrained => f64::from(p as f32 * *theta as f32),
            };
            let factor = self.rotary.attention_factor() * self.fading(n, p, side);
            let (cos, sin) = ((factor * angle.cos()) as f32, (factor * angle.sin()) as f32);
            let (a, b) = (x[first], x[second]);
            (x[first], x[second]) = match way {
                Way::There => (a * cos - b * sin, b * cos + a * sin),
                Way::Back => (a * cos + b * sin, b * cos - a * sin),
                Way::BackMagnitudes => {
                    (a * cos.abs() + b * sin.abs(), b * cos.abs() + a * sin.abs())
                }
            };
        }
    }

    fn fading(&self, n: usize, p: i64, side: f64) -> f64 {
        self.rotary.xpos.map_or(1.0, |xpos| {
            let zeta = (2.0 * n as f64 / f64::from(self.rotary.dim) + 0.4) / 1.4;
            zeta.powf(side * (p - i64::from(xpos.centre)) as f64 / xpos.scale_base)
        })
    }
}

//! Rows turned by their positions in f32, by cosines and sines of f64 angles.

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

/// Turns row (b, n) of q or k.
type Turn<'a> = &'a dyn Fn(&Turner, u32, u32, Vec<f32>) -> Vec<f32>;

/// q and k in f32, turned where a scheme turns them: `τ·R q` and `R k`.
pub struct Turned {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
}

impl Turned {
    pub fn new(problem: &Problem, tensors: &Tensors) -> Self {
        let (s, turner) = (&problem.shape, Turner::new(problem));
        let rows = |x: &[f64], heads: u32, len: u32, turn: Turn<'_>| {
            x.chunks_exact(s.head_dim as usize)
                .zip(0..)
                .flat_map(|(row, n)| {
                    let row = row.iter().map(|&x| x as f32).collect();
                    match &turner {
                        Some(turner) => turn(turner, n / len / heads, n % len, row),
                        None => row,
                    }
                })
                .collect()
        };
        Self {
            q: rows(tensors.q, s.q_heads, s.q_len, &|turner, b, i, row| {
                turner.query(row, query_position(problem, tensors, b, i))
            }),
            k: rows(tensors.k, s.kv_heads, s.kv_len, &|turner, b, j, row| {
                turner.turn(row, key_position(problem, tensors, b, j), -1.0)
            }),
        }
    }
}

/// The rotation of one problem, its frequencies computed once.
struct Turner<'a> {
    rotary: &'a Rotary,
    inv_freq: Vec<f64>,
}

impl<'a> Turner<'a> {
    fn new(problem: &'a Problem) -> Option<Self> {
        let (position, rotary) = (&problem.position, problem.position.rotary.as_ref()?);
        let known = position.known_range(&problem.shape, &problem.mask);
        let range = position.range.clone().or(known)?;
        let inv_freq = rotary.inv_freq(position.length(&range)).ok()?;
        Some(Self { rotary, inv_freq })
    }

    /// A query at position p, with its temperature.
    fn query(&self, q: Vec<f32>, p: i64) -> Vec<f32> {
        let tau = self.rotary.temperature.map_or(1.0, |t| t.at(p as i32)) as f32;
        self.turn(q, p, 1.0).iter().map(|x| tau * x).collect()
    }

    /// `side` is 1 for a query and −1 for a key, whose xPos factors are each other's inverse.
    fn turn(&self, x: Vec<f32>, p: i64, side: f64) -> Vec<f32> {
        let mut y = x.clone();
        for (n, theta) in self.inv_freq.iter().enumerate() {
            let (first, second) = self.rotary.layout.channels(n as u32, self.rotary.dim);
            let (first, second) = (first as usize, second as usize);
            let angle = match self.rotary.precision {
                Precision::Exact => p as f64 * theta,
                Precision::AsTrained => f64::from(p as f32 * *theta as f32),
            };
            let factor = self.rotary.attention_factor() * self.fading(n, p, side);
            let (cos, sin) = ((factor * angle.cos()) as f32, (factor * angle.sin()) as f32);
            y[first] = x[first] * cos - x[second] * sin;
            y[second] = x[second] * cos + x[first] * sin;
        }
        y
    }

    fn fading(&self, n: usize, p: i64, side: f64) -> f64 {
        self.rotary.xpos.map_or(1.0, |xpos| {
            let zeta = (2.0 * n as f64 / f64::from(self.rotary.dim) + 0.4) / 1.4;
            zeta.powf(side * (p - i64::from(xpos.centre)) as f64 / xpos.scale_base)
        })
    }
}

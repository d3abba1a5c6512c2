//! Attention on the CPU, by its definition: what the library's answers are held against. Shares nothing with it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cache::Cache;
use crate::config::Config;

/// Keys (rotated) and values of one layer, `[n, Hkv, D]`.
#[derive(Clone, Default)]
struct Held {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// All layers.
pub struct Plain {
    config: Config,
    layers: Vec<Held>,
    len: usize,
    spent: Duration,
}

impl Plain {
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            layers: vec![Held::default(); config.layers],
            len: 0,
            spent: Duration::ZERO,
        }
    }

    /// o of one query head: softmax(q·kᵀ/√D)·v over the first `visible` keys.
    fn row(&self, held: &Held, q: &[f32], kv_head: usize, visible: usize) -> Vec<f32> {
        let (dim, stride) = (self.config.head_dim, self.config.kv_width());
        let at = |j: usize| j * stride + kv_head * dim..j * stride + (kv_head + 1) * dim;
        let scale = 1.0 / (dim as f64).sqrt();
        let scores: Vec<f64> = (0..visible)
            .map(|j| scale * dot(q, &held.k[at(j)]))
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        let mut o = vec![0.0; dim];
        for (j, score) in scores.into_iter().enumerate() {
            let p = (score - largest).exp();
            sum += p;
            for (o, v) in o.iter_mut().zip(&held.v[at(j)]) {
                *o += p * f64::from(*v);
            }
        }
        o.into_iter().map(|o: f64| (o / sum) as f32).collect()
    }
}

impl Cache for Plain {
    fn len(&self) -> usize {
        self.len
    }

    fn capacity(&self) -> Option<usize> {
        None
    }

    fn begin(&mut self, _: usize) -> Result<()> {
        // What a pass that failed half-way has left.
        self.truncate(self.len)
    }

    fn attend(&mut self, layer: usize, [q, k, v]: [&[f32]; 3]) -> Result<Vec<f32>> {
        let start = Instant::now();
        let (dim, width, group) = (
            self.config.head_dim,
            self.config.q_width(),
            self.config.q_heads / self.config.kv_heads,
        );
        let mut held = std::mem::take(&mut self.layers[layer]);
        held.k.extend(self.rotated(k, self.config.kv_width()));
        held.v.extend_from_slice(v);
        let mut o = Vec::with_capacity(q.len());
        for (i, row) in self.rotated(q, width).chunks_exact(width).enumerate() {
            for (head, q) in row.chunks_exact(dim).enumerate() {
                o.extend(self.row(&held, q, head / group, self.len + i + 1));
            }
        }
        self.layers[layer] = held;
        self.spent += start.elapsed();
        Ok(o)
    }

    fn end(&mut self, n: usize) {
        self.len += n;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.len = len;
        let numbers = len * self.config.kv_width();
        for held in &mut self.layers {
            held.k.truncate(numbers);
            held.v.truncate(numbers);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let numbers = |held: &Held| size_of_val(&*held.k) + size_of_val(&*held.v);
        self.layers.iter().map(|held| numbers(held) as u64).sum()
    }

    fn spent(&self) -> Duration {
        self.spent
    }
}

impl Plain {
    /// Rows at the positions from `self.len` on, neighbouring channels turned as a pair (GGUF's order of channels).
    fn rotated(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let dim = self.config.head_dim;
        let mut out = Vec::with_capacity(rows.len());
        for (i, row) in rows.chunks_exact(width).enumerate() {
            let position = (self.len + i) as f64;
            for (n, pair) in row.chunks_exact(2).enumerate() {
                let exponent = (n * 2 % dim) as f64 / dim as f64;
                let (sin, cos) = (position * self.config.rope_base.powf(-exponent)).sin_cos();
                let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
                out.extend([(a * cos - b * sin) as f32, (a * sin + b * cos) as f32]);
            }
        }
        out
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

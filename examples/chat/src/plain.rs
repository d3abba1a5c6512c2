//! Attention on the CPU, by its definition: what the library's answers are held against. Shares nothing with it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cache::Cache;
use crate::config::Config;

/// Keys and values of one layer, `[n, Hkv, D]`.
#[derive(Clone, Default)]
struct Held {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// All layers.
pub struct Plain {
    config: Config,
    layers: Vec<Held>,
    stream: Option<Stream>,
    len: usize,
    spent: Duration,
}

/// Only the first tokens and a window of the latest are visible, and positions count these (StreamingLLM,
/// arXiv 2309.17453, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub first: usize,
    /// Tokens that a query sees, its own counted in.
    pub window: usize,
}

impl Plain {
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            layers: vec![Held::default(); config.layers],
            stream: None,
            len: 0,
            spent: Duration::ZERO,
        }
    }

    pub fn with_stream(self, stream: Option<Stream>) -> Self {
        Self { stream, ..self }
    }

    fn is_visible(&self, i: usize, j: usize) -> bool {
        let in_stream = |s: Stream| j < s.first || j + s.window > i;
        j <= i && self.stream.is_none_or(in_stream)
    }

    /// Where token j stands for a pass after which there are `len`: behind the first ones, all have moved towards those.
    fn position(&self, j: usize, len: usize) -> f64 {
        let moved = |s: Stream| match j < s.first {
            true => 0,
            false => len.saturating_sub(s.first + s.window),
        };
        j as f64 - self.stream.map_or(0, moved) as f64
    }

    /// Rows that stand at `position(i)`, neighbouring channels rotated as a pair (GGUF's order of channels).
    fn rotated(&self, rows: &[f32], width: usize, position: impl Fn(usize) -> f64) -> Vec<f32> {
        let dim = self.config.head_dim;
        let mut out = Vec::with_capacity(rows.len());
        for (i, row) in rows.chunks_exact(width).enumerate() {
            for (n, pair) in row.chunks_exact(2).enumerate() {
                let exponent = (n * 2 % dim) as f64 / dim as f64;
                let angle = position(i) * self.config.rope_base.powf(-exponent);
                let (sin, cos) = angle.sin_cos();
                let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
                out.extend([(a * cos - b * sin) as f32, (a * sin + b * cos) as f32]);
            }
        }
        out
    }

    /// o of one query head: softmax(q·kᵀ/√D)·v over the keys that token i sees.
    fn row(&self, (k, v): (&[f32], &[f32]), q: &[f32], kv_head: usize, i: usize) -> Vec<f32> {
        let (dim, stride) = (self.config.head_dim, self.config.kv_width());
        let at = |j: usize| j * stride + kv_head * dim..j * stride + (kv_head + 1) * dim;
        let scale = 1.0 / (dim as f64).sqrt();
        let visible = (0..=i).filter(|&j| self.is_visible(i, j));
        let scores: Vec<_> = visible.map(|j| (j, scale * dot(q, &k[at(j)]))).collect();
        let largest = scores.iter().map(|x| x.1).fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        let mut o = vec![0.0; dim];
        for (j, score) in scores {
            let p = (score - largest).exp();
            sum += p;
            for (o, v) in o.iter_mut().zip(&v[at(j)]) {
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
        let (dim, width, kv_width) = (
            self.config.head_dim,
            self.config.q_width(),
            self.config.kv_width(),
        );
        let group = self.config.q_heads / self.config.kv_heads;
        let len = self.len + q.len() / width;
        let mut held = std::mem::take(&mut self.layers[layer]);
        held.k.extend_from_slice(k);
        held.v.extend_from_slice(v);
        let keys = self.rotated(&held.k, kv_width, |j| self.position(j, len));
        let q = self.rotated(q, width, |i| self.position(self.len + i, len));
        let mut o = Vec::with_capacity(q.len());
        for (i, row) in q.chunks_exact(width).enumerate() {
            for (head, q) in row.chunks_exact(dim).enumerate() {
                o.extend(self.row((&keys, &held.v), q, head / group, self.len + i));
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

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

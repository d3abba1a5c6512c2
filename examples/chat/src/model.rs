//! A Llama: what stands around attention, on the CPU.

use anyhow::Result;

use crate::cache::Cache;
use crate::config::Config;
use crate::gguf::Gguf;
use crate::weights::{Layer, Weights};

/// Whose logits a pass computes: the head is a fifth of all weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nobody's: a part of a prompt.
    None,
    /// Only those after the last token.
    Last,
    /// Those after each token.
    All,
}

/// A model, ready to read tokens.
pub struct Model {
    pub config: Config,
    weights: Weights,
}

impl Model {
    /// Reads a file's weights; `read` is told how many layers are there, and of how many.
    pub fn of(file: &Gguf, mut read: impl FnMut(usize, usize)) -> Result<Self> {
        let config = Config::of(file)?;
        let weights = Weights::of(file, &config, |layers| read(layers, config.layers))?;
        Ok(Self { config, weights })
    }

    /// The logits `[n, 1 or 0, vocabulary]` after `tokens`, which follow those that `cache` holds and which it holds
    /// afterwards. Where it returns an error, the cache is as it was.
    pub fn forward(
        &self,
        tokens: &[u32],
        cache: &mut dyn Cache,
        wanted: Wanted,
    ) -> Result<Vec<f32>> {
        cache.begin(tokens.len())?;
        let embedding = &self.weights.embedding;
        let rows = tokens
            .iter()
            .flat_map(|&token| embedding.row(token as usize));
        let mut x: Vec<f32> = rows.copied().collect();
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let attended = self.attended(index, layer, &x, cache)?;
            add(&mut x, &layer.output.times(&attended));
            let hidden = self.hidden(layer, &x);
            add(&mut x, &layer.down.times(&hidden));
        }
        cache.end(tokens.len());
        let from = match wanted {
            Wanted::None => return Ok(Vec::new()),
            Wanted::All => 0,
            Wanted::Last => x.len().saturating_sub(self.config.width),
        };
        let x = self.normed(&x[from..], &self.weights.norm);
        Ok(embedding.times(&x))
    }

    /// What the tokens of `x` gather from those before them.
    fn attended(
        &self,
        index: usize,
        layer: &Layer,
        x: &[f32],
        cache: &mut dyn Cache,
    ) -> Result<Vec<f32>> {
        let x = self.normed(x, &layer.attention_norm);
        let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|matrix| matrix.times(&x));
        cache.attend(index, [&q, &k, &v])
    }

    /// SwiGLU: silu(gate)·up.
    fn hidden(&self, layer: &Layer, x: &[f32]) -> Vec<f32> {
        let x = self.normed(x, &layer.hidden_norm);
        let mut hidden = layer.gate.times(&x);
        for (gate, up) in hidden.iter_mut().zip(layer.up.times(&x)) {
            *gate *= up / (1.0 + (-*gate).exp());
        }
        hidden
    }

    /// Each row over its root mean square, times `weight`.
    fn normed(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let width = self.config.width;
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(width) {
            let squares: f32 = row.iter().map(|x| x * x).sum();
            let factor = 1.0 / (squares / width as f32 + self.config.norm_epsilon).sqrt();
            out.extend(
                row.iter()
                    .zip(weight)
                    .map(|(x, weight)| x * factor * weight),
            );
        }
        out
    }
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

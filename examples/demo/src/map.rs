//! One head's attention map, made on the host from q, k and lse: `P = e^{s − lse}`, `s = q·k / √D`.

use crate::model::Layer;

/// Where each token of a text looks.
pub struct Map {
    pub title: String,
    pub tokens: Vec<String>,
    /// `[tokens, tokens]`; every row adds up to 1.
    pub shares: Vec<Vec<f64>>,
}

impl Map {
    pub fn new(layer: &Layer, lse: &[f32], text: usize, head: usize) -> Self {
        let len = layer.lens[text] as usize;
        let first = (text * layer.shape.q_heads as usize + head) * layer.shape.q_len as usize;
        let shares = (0..len)
            .map(|i| {
                (0..len)
                    .map(|j| share(layer, lse, first + i, first + j))
                    .collect()
            })
            .collect();
        Self {
            title: format!("Where each token looks: all-MiniLM-L6-v2, layer 2, head {head}"),
            tokens: layer.tokens[text].clone(),
            shares,
        }
    }

    /// The largest share.
    pub fn peak(&self) -> f64 {
        self.shares.iter().flatten().copied().fold(0.0, f64::max)
    }
}

/// The share of key row `key` in the answer of query row `query`, rows counted over all texts and heads.
fn share(layer: &Layer, lse: &[f32], query: usize, key: usize) -> f64 {
    let dim = layer.shape.head_dim as usize;
    let q = layer.q.iter().skip(query * dim);
    let k = layer.k.iter().skip(key * dim);
    let dot: f64 = q.zip(k).take(dim).map(|(q, k)| q * k).sum();
    (dot / (dim as f64).sqrt() - f64::from(lse[query])).exp()
}

//! The matrices of a model, as f32.

use anyhow::{Result, ensure};

use crate::config::Config;
use crate::gguf::Gguf;
use crate::products::Matrix;

/// One layer.
pub struct Layer {
    pub attention_norm: Vec<f32>,
    pub q: Matrix,
    pub k: Matrix,
    pub v: Matrix,
    pub output: Matrix,
    pub hidden_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

/// All of them.
pub struct Weights {
    /// `[vocabulary, width]`: the embedding, and the head.
    pub embedding: Matrix,
    pub layers: Vec<Layer>,
    pub norm: Vec<f32>,
}

/// Tensors of a layer.
const IN_A_LAYER: usize = 9;

impl Weights {
    /// Reads what `config` asks for, and refuses a file with more: it would change the answer. `read` is told of each
    /// layer.
    pub fn of(file: &Gguf, config: &Config, mut read: impl FnMut(usize)) -> Result<Self> {
        let (width, vocabulary) = (config.width, config.vocabulary);
        let embedding = Matrix::of(file, "token_embd.weight", vocabulary, width)?;
        let norm = file.tensor("output_norm.weight", &[width])?;
        let mut layers = Vec::with_capacity(config.layers.min(file.tensors().count()));
        for index in 0..config.layers {
            layers.push(Layer::of(file, config, index)?);
            read(index + 1);
        }
        let (found, wanted) = (file.tensors().count(), 2 + IN_A_LAYER * config.layers);
        let path = file.path().display();
        ensure!(
            found == wanted,
            "{path} has {found} tensors and a SmolLM2 of {} layers {wanted}; give such a model",
            config.layers
        );
        Ok(Self {
            embedding,
            layers,
            norm,
        })
    }
}

impl Layer {
    fn of(file: &Gguf, config: &Config, index: usize) -> Result<Self> {
        let (width, hidden) = (config.width, config.hidden);
        let (q, kv) = (config.q_width(), config.kv_width());
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let matrix = |part: &str, rows, columns| Matrix::of(file, &name(part), rows, columns);
        let norm = |part: &str| file.tensor(&name(part), &[width]);
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            q: matrix("attn_q", q, width)?,
            k: matrix("attn_k", kv, width)?,
            v: matrix("attn_v", kv, width)?,
            output: matrix("attn_output", width, q)?,
            hidden_norm: norm("ffn_norm")?,
            gate: matrix("ffn_gate", hidden, width)?,
            up: matrix("ffn_up", hidden, width)?,
            down: matrix("ffn_down", width, hidden)?,
        })
    }
}

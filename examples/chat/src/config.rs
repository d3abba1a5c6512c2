//! The sizes of a model, as its file states them.

use anyhow::{Result, ensure};

use crate::gguf::{Gguf, Value};

/// A Llama: RMS norms, grouped queries, rotary positions on all channels, SwiGLU, a head that is the embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub layers: usize,
    /// Channels of the residual stream.
    pub width: usize,
    pub q_heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Channels between the halves of a feed-forward layer.
    pub hidden: usize,
    pub vocabulary: usize,
    /// Tokens that it was trained to look back over.
    pub context: usize,
    pub rope_base: f64,
    pub norm_epsilon: f32,
}

/// What changes the answer and is known here.
const KNOWN: &[&str] = &[
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "rope.freq_base",
    "rope.dimension_count",
    "vocab_size",
];

impl Config {
    /// Refuses a model of another architecture, or one that asks for more than is done here.
    pub fn of(file: &Gguf) -> Result<Self> {
        let path = file.path().display();
        let architecture = file.text("general.architecture")?;
        ensure!(
            architecture == "llama",
            "{path} is a model of the architecture {architecture:?}; \"llama\" is read, give a SmolLM2 model"
        );
        let keys = file.keys().filter_map(|key| key.strip_prefix("llama."));
        for key in keys {
            ensure!(
                KNOWN.contains(&key),
                "{path} states llama.{key}, which is not supported; give a SmolLM2 model"
            );
        }
        let count = |key: &str| file.count(&format!("llama.{key}"));
        let (width, q_heads) = (count("embedding_length")?, count("attention.head_count")?);
        let config = Self {
            layers: count("block_count")?,
            width,
            q_heads,
            kv_heads: count("attention.head_count_kv")?,
            head_dim: width / q_heads,
            hidden: count("feed_forward_length")?,
            vocabulary: file.list("tokenizer.ggml.tokens")?.len(),
            context: count("context_length")?,
            rope_base: file.real("llama.rope.freq_base")?,
            norm_epsilon: file.real("llama.attention.layer_norm_rms_epsilon")? as f32,
        };
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Gguf) -> Result<()> {
        let path = file.path().display();
        let (q, kv, width) = (self.q_heads, self.kv_heads, self.width);
        ensure!(
            width.is_multiple_of(2 * q) && q.is_multiple_of(kv),
            "{path}: {width} channels, {q} query heads and {kv} KV heads make no heads of whole pairs; give a whole model"
        );
        let rotated = file.count("llama.rope.dimension_count")?;
        ensure!(
            rotated == self.head_dim,
            "{path} rotates {rotated} of {} channels; models that rotate all are read",
            self.head_dim
        );
        if let Some(Value::Whole(stated)) = file.get("llama.vocab_size") {
            ensure!(
                *stated == self.vocabulary as i64,
                "{path} states {stated} tokens and names {}; fetch it again",
                self.vocabulary
            );
        }
        Ok(())
    }

    /// Channels of all query heads.
    pub fn q_width(&self) -> usize {
        self.q_heads * self.head_dim
    }

    /// Channels of all KV heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

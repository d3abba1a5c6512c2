//! The command line.

use std::path::PathBuf;

use chat::plain::Stream;
use chat::sample::Sampling;
use clap::{Parser, ValueEnum};
use wgpu_attention::Element;

use crate::values::{above_zero, count, page, probability, seed, stream, temperature};

/// SmolLM2-135M-Instruct, or a model like it, answers. Attention and its cache are this library's on the adapter that is
/// here, the other products run on the CPU.
#[derive(Debug, Parser)]
#[command(
    name = "chat",
    override_usage = "chat --model FILE.gguf --prompt TEXT [options]\n       \
    chat --model FILE.gguf [options]     (a conversation: a line of the input is a message)"
)]
pub struct Args {
    /// The model: architecture llama, tensors Q4_1, Q8_0 or F32, with its tokenizer
    #[arg(long, value_name = "FILE.gguf")]
    pub model: PathBuf,
    /// Refuses a model of another SHA-256
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// One message to answer; without it each line of the standard input is one
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// What the model is told to be
    #[arg(long, value_name = "TEXT", default_value = chat::prompt::SYSTEM, conflicts_with = "raw")]
    pub system: String,
    /// The model goes on with the prompt as it stands, without the chat's template
    #[arg(long, requires = "prompt")]
    pub raw: bool,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = above_zero)]
    pub tokens: usize,
    /// Tokens that the cache has room for [default: prompt and answer; in a conversation 2048]
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub context: Option<usize>,

    /// Keeps keys and values in pages of N tokens, a power of two
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "64", value_parser = page)]
    pub paged: Option<u32>,
    /// How keys and values are stored: f32, or rounded to 8 or 4 bits
    #[arg(long, value_enum, default_value = "f32")]
    pub kv: Kv,
    /// Keeps the first F tokens and the latest W and no more, however long the text: positions count within these
    #[arg(long, value_name = "F,W", value_parser = stream, conflicts_with_all = ["paged", "context", "check"])]
    pub stream: Option<Stream>,

    /// Guesses up to K tokens before each pass: what followed the last ones earlier in the text
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = count)]
    pub speculative: usize,
    /// 0 takes the likeliest token, 1 draws by the model's probabilities
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = temperature, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Draws from the likeliest tokens that have this probability together
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = probability, allow_negative_numbers = true)]
    pub top_p: f32,
    /// Equal seeds, equal texts
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    pub seed: u64,

    /// Attention on the CPU by its definition, without the library
    #[arg(long, conflicts_with_all = ["paged", "kv"])]
    pub reference: bool,
    /// Compares the answer's logits with those of one full pass of --reference
    #[arg(long, requires = "prompt")]
    pub check: bool,
    /// Adapter to use: its index in `attend --list`, or a part of its name
    #[arg(long, value_name = "NAME", conflicts_with = "reference")]
    pub adapter: Option<String>,
    /// Prints one object with text, tokens and measures in place of the text
    #[arg(long, requires = "prompt")]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kv {
    F32,
    Int8,
    Int4,
}

impl From<Kv> for Element {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F32 => Self::F32,
            Kv::Int8 => Self::Int8,
            Kv::Int4 => Self::Int4,
        }
    }
}

impl Args {
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
        }
    }
}

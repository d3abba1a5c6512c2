//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lab::scheme::Learned;

/// How far models go beyond the context they were trained for, measured on text with this library's attention.
#[derive(Debug, Parser)]
#[command(name = "lab")]
pub struct Lab {
    #[command(subcommand)]
    pub command: Command,
    /// Adapter to use: its index in `attend --list`, or a part of its name
    #[arg(long, value_name = "NAME", global = true)]
    pub adapter: Option<String>,
    /// Where tables and pictures are written, and interrupted runs kept
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "target/lab",
        global = true
    )]
    pub out: PathBuf,
    /// Where the trained models are [default: those of the repository]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub weights: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trains a tiny model on bytes, from nothing; goes on where it was interrupted
    Train(Train),
    /// Bits per byte beyond the trained context, positions changed and weights as they are
    ZeroShot(ZeroShot),
    /// A little training at a longer context: linear, NTK, YaRN, and none as control
    FineTune(FineTune),
    /// Bits per byte over work saved: windows, BigBird, A-shape, blocks chosen from the input
    Approximate(Approximate),
    /// Perplexity of a real model at long contexts under each scheme; goes on where it was interrupted
    Perplexity(Perplexity),
    /// A number hidden in a long text, asked for
    Passkey(Passkey),
    /// Records of several seeds as one: means, and how far apart the models are
    Spread(Spread),
}

#[derive(Debug, Args)]
pub struct Train {
    #[arg(long, value_enum)]
    pub position: Learned,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[arg(long, default_value_t = 900, value_parser = above_zero)]
    pub steps: usize,
    /// Sequences of a step
    #[arg(long, default_value_t = 8, value_parser = above_zero)]
    pub batch: usize,
}

#[derive(Debug, Args)]
pub struct ZeroShot {
    /// The longest context: lengths double from 256 to it
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = above_zero)]
    pub longest: usize,
    /// Bytes that every scheme and length is measured on
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = above_zero)]
    pub bytes: usize,
    /// Searches LongRoPE's factors anew
    #[arg(long)]
    pub search: bool,
    /// A text of your own in place of the held-out novel
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct FineTune {
    #[arg(long, default_value_t = 60, value_parser = above_zero)]
    pub steps: usize,
    /// Bytes of context
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = above_zero)]
    pub len: usize,
    /// Bytes that every scheme and length is measured on
    #[arg(long, value_name = "N", default_value_t = 32768, value_parser = above_zero)]
    pub bytes: usize,
}

#[derive(Debug, Args)]
pub struct Approximate {
    #[arg(long, value_enum, default_value = "alibi")]
    pub position: Learned,
    /// Bytes of context
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = above_zero)]
    pub len: usize,
    /// Bytes that every way is measured on
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = above_zero)]
    pub bytes: usize,
}

#[derive(Debug, Args)]
pub struct Perplexity {
    /// SmolLM2-135M-Instruct or a model like it
    #[arg(long, value_name = "FILE.gguf")]
    pub model: PathBuf,
    /// Tokens of context
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "2048,8192,16384", value_parser = above_zero)]
    pub lengths: Vec<usize>,
    /// none, linear, ntk, dynamic-ntk, yarn
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "none,linear,ntk,dynamic-ntk,yarn"
    )]
    pub schemes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Passkey {
    /// SmolLM2-135M-Instruct or a model like it
    #[arg(long, value_name = "FILE.gguf")]
    pub model: PathBuf,
    /// Tokens of text
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "512,1024,2048", value_parser = above_zero)]
    pub lengths: Vec<usize>,
    /// Depths from the text's begin to its end
    #[arg(long, default_value_t = 5, value_parser = above_zero)]
    pub depths: usize,
    /// Numbers that are tried at each
    #[arg(long, default_value_t = 2, value_parser = above_zero)]
    pub tries: usize,
    /// As in `lab perplexity`
    #[arg(long, value_name = "NAME", default_value = "none")]
    pub scheme: String,
}

#[derive(Debug, Args)]
pub struct Spread {
    /// Where `lab zero-shot`, and perhaps `lab fine-tune`, wrote for each seed
    #[arg(value_name = "FOLDER", num_args = 2.., required = true)]
    pub folders: Vec<PathBuf>,
}

fn above_zero(text: &str) -> Result<usize, String> {
    let most = 1 << 24;
    let found = text.parse().ok().filter(|n| (1..=most).contains(n));
    found.ok_or_else(|| format!("{text:?} is not one; give a whole number from 1 to {most}"))
}

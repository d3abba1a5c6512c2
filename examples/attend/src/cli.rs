//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{MaxScore, Prefix, Window};
use wgpu_attention::{Element, PlanOptions, Problem, Shape};

use crate::doctor::DoctorArgs;
use crate::position::PositionArgs;
use crate::sparse::SelectArgs;
use crate::values::{count, number, positive, runs, seed, shape, window};

/// Exact attention over the tensors q [B, Hq, Nq, D], k [B, Hkv, Nk, D] and v [B, Hkv, Nk, Dv] of a safetensors file
/// (F32, F16 or BF16). Where they are there (I32 or F32): kv_lens [B], q_offset [B], prefix [B], q_positions [B, Nq],
/// k_positions [B, Nk], bias [B|1, Hq|1, Nq|1, Nk] (F32, F16 or BF16), slopes [Hq] or [B, Hq], sinks [Hq] and t5 [buckets, Hq]; segments_q [B, Nq] and
/// segments_k [B, Nk], where a query sees keys of its own segment; tree [B, Nq], each query's parent or -1, where of the
/// queries' own keys a query sees its ancestors' and its own; mask [B|1, Hq|1, Nq|1, Nk] (BOOL or U8), whose zeros
/// hide; blocks (U8), see --block-size; cu_seqlens_q and cu_seqlens_k [S + 1], where each of S sequences begins that lie
/// one after the other in tensors of one batch (then B is S above, and N all tokens). Writes o and lse.
/// For --grad: do (like o) and, where it is there, dlse [B, Hq, Nq].
#[derive(Debug, Parser)]
#[command(
    name = "attend",
    override_usage = "attend INPUT.safetensors [OUTPUT.safetensors] [options]\n       \
    attend --random B,Hq,Hkv,Nq,Nk,D[,Dv] [options]\n       attend --list\n       attend --doctor [FILE.json] [--seconds N]"
)]
pub struct Args {
    /// File with q, k and v
    #[arg(value_name = "INPUT.safetensors", required_unless_present_any = ["random", "list", "doctor"])]
    pub input: Option<PathBuf>,
    /// File to write o, lse and gradients to; without it nothing is written
    #[arg(value_name = "OUTPUT.safetensors")]
    pub output_file: Option<PathBuf>,
    /// Standard normal q, k and v of these sizes in place of a file
    #[arg(long, value_name = "B,Hq,Hkv,Nq,Nk,D[,Dv]", value_parser = shape, conflicts_with = "input")]
    pub random: Option<Shape>,
    /// Element type of --random
    #[arg(long, value_enum, default_value = "f32", conflicts_with = "input")]
    pub element: ElementName,
    /// Seed of --random
    #[arg(long, default_value_t = 0, conflicts_with = "input", value_parser = seed)]
    pub seed: u64,

    /// A query sees no key after its own
    #[arg(long)]
    causal: bool,
    /// A query sees L keys before its own to R after it; a number or inf each
    #[arg(long, value_name = "L,R", value_parser = window, allow_hyphen_values = true)]
    window: Option<Window>,
    /// Keys before this one are exempt from the window
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = count,
        allow_negative_numbers = true
    )]
    first: u32,
    /// Keys before this one are exempt from causal [default: 0, or as the tensor prefix says per batch]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    prefix: Option<u32>,
    /// Side of a block of the tensor blocks [B|1, Hq|1, ⌈Nq/b⌉, ⌈Nk/b⌉], whose zeros hide, or of --top-k (there 64
    /// if not given): a multiple of 16 to 128
    #[arg(long, value_name = "b", value_parser = count, allow_negative_numbers = true)]
    pub block_size: Option<u32>,
    /// Factor on q·k [default: 1/√D]
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    scale: Option<f32>,
    /// Caps scores smoothly at ±C
    #[arg(long, value_name = "C", value_parser = number, allow_negative_numbers = true)]
    softcap: Option<f32>,
    /// The tensor bias is added before --softcap and not after it (ONNX's Attention of opset 24)
    #[arg(long, requires = "softcap")]
    bias_before_softcap: bool,
    #[command(flatten)]
    pub positions: PositionArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    /// Stores k and v as a cache of quantised rows would: signed bytes with a scale per row, or half bytes with a scale and
    /// a minimum per 32 channels. What is computed is attention to the rounded numbers; not with --grad
    #[arg(long, value_enum, conflicts_with = "grad")]
    kv: Option<KvName>,
    /// Also writes the gradients dq, dk and dv (F32) of a loss whose gradient by o is the tensor do, and by lse dlse; and
    /// dbias, dslopes, dsinks and dt5 where the file has bias, slopes, sinks and t5
    #[arg(long)]
    pub grad: bool,
    /// The user's score_mod, mask_mod and score_mod_grad, as WGSL text
    #[arg(long = "mod", value_name = "FILE.wgsl")]
    pub mods: Option<PathBuf>,
    /// Loop iterations of a call of the user's functions at the most [default: 64 where they have loops]
    #[arg(long, value_name = "N", requires = "mods", value_parser = count, allow_negative_numbers = true)]
    pub mod_iterations: Option<u32>,
    /// Element type of o in place of the input's
    #[arg(long, value_enum)]
    output: Option<OutputName>,

    /// Forces a way for the products; an error where it cannot run
    #[arg(long, value_enum, default_value = "auto")]
    strategy: StrategyName,
    /// Forces or forbids the kernels for few queries
    #[arg(long, value_enum, default_value = "auto")]
    decode: Switch,
    /// Splits the keys into N parts
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    splits: Option<u32>,
    /// Computes at most N query rows in a step
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    slice_rows: Option<u32>,

    /// Also writes the largest score of each row, max_score [B, Hq, Nq], and of each head, max_score_head [Hq]: an extension,
    /// for QK-clip and its kind
    #[arg(long)]
    max_score: bool,

    /// Adapter to use: its index, or a part of its name
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Lists the adapters: index, name, driver, class, and what is known to be broken
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub doctor: DoctorArgs,
    /// Prints the plan
    #[arg(long)]
    pub explain: bool,
    /// Times N runs
    #[arg(long, value_name = "N", value_parser = runs)]
    pub time: Option<usize>,
    /// Prints adapter, steps, declined paths and time as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ElementName {
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KvName {
    Int8,
    Int4,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutputName {
    F32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StrategyName {
    Auto,
    Subgroup,
    Workgroup,
    Matrix,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Switch {
    Auto,
    On,
    Off,
}

/// A tensor or an option that would change the answer and is not there yet.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not supported yet; leave it out")]
pub struct NotSupported(pub String);

impl Args {
    /// The problem with the options' mask, score, positions and output element.
    pub fn configure(&self, mut problem: Problem) -> Result<Problem> {
        problem.mask.causal = self.causal;
        if self.max_score {
            problem.max_score = Some(MaxScore::rows(&problem.shape).with_per_head(true));
        }
        problem.mask.window = self.window;
        problem.mask.first = self.first;
        if let Some(keys) = self.prefix {
            ensure!(
                problem.mask.prefix == Prefix::default(),
                "--prefix gives one prefix for all batches, and the tensor prefix one for each; leave one of the two out"
            );
            problem.mask.prefix = Prefix::Same(keys);
        }
        problem.scale = self.scale;
        problem.score.softcap = self.softcap;
        ensure!(
            !self.bias_before_softcap || problem.score.bias.is_some(),
            "--bias-before-softcap says where a bias joins; give a file with a tensor bias, or leave the option out"
        );
        problem.score.bias_before_softcap = self.bias_before_softcap;
        if let Some(OutputName::F32) = self.output {
            problem.o.element = Element::F32;
        }
        self.positions.configure(&mut problem)?;
        ensure!(
            self.input.is_some() || self.block_size.is_none() || self.select.top_k.is_some(),
            "--block-size needs blocks; give --top-k, or a file with a tensor blocks"
        );
        self.select.configure(&mut problem, self.block_size)?;
        Ok(match self.kv {
            None => problem,
            Some(KvName::Int8) => problem.with_kv_elements(Element::Int8, Element::Int8),
            Some(KvName::Int4) => problem.with_kv_elements(Element::Int4, Element::Int4),
        })
    }

    /// The paths that the options force.
    pub fn choice(&self) -> Result<PlanOptions> {
        let strategy = match self.strategy {
            StrategyName::Auto => None,
            StrategyName::Subgroup => Some(StrategyKind::Subgroup),
            StrategyName::Workgroup => Some(StrategyKind::Workgroup),
            StrategyName::Matrix => bail!(
                "--strategy matrix cannot run here: there are no matrix kernels yet; use --strategy auto"
            ),
        };
        let decode = match self.decode {
            Switch::Auto => None,
            Switch::On => Some(true),
            Switch::Off => Some(false),
        };
        let (splits, slice_rows) = (self.splits, self.slice_rows);
        Ok(PlanOptions::default()
            .with_strategy(strategy)
            .with_decode(decode)
            .with_splits(splits)
            .with_slice_rows(slice_rows))
    }

    /// False where only the plan is asked for: then nothing is computed.
    pub fn needs_answer(&self) -> bool {
        let plan_only = self.explain || self.json;
        let asked = self.output_file.is_some() || self.time.is_some() || self.select.coverage;
        asked || !plan_only
    }
}

impl From<ElementName> for Element {
    fn from(name: ElementName) -> Self {
        match name {
            ElementName::F32 => Self::F32,
            ElementName::F16 => Self::F16,
            ElementName::Bf16 => Self::BF16,
        }
    }
}

//! Position schemes: their options, and what these make of a problem.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use wgpu_attention::Problem;
use wgpu_attention::problem::position::{Rotary, RotaryLayout};
use wgpu_attention::problem::{T5, Values, alibi_slopes};

use crate::values::{count, positive};

#[derive(Debug, clap::Args)]
pub struct PositionArgs {
    /// Rotates q and k (RoPE) as a model's config.json says, in Hugging Face's form, old or new
    #[arg(long, value_name = "FILE")]
    rope: Option<PathBuf>,
    /// Whose RoPE is meant where the config's types of layers rotate differently, such as full_attention
    #[arg(long, value_name = "TYPE", requires = "rope")]
    rope_layer: Option<String>,
    /// Which channels rotate together: i and i + d/2, or 2i and 2i + 1 [default: as the config or its model type says,
    /// else half]
    #[arg(long, value_enum, requires = "rope")]
    rope_layout: Option<LayoutName>,
    /// k holds keys that were rotated before, as caches do: only q is rotated
    #[arg(long, requires = "rope")]
    rotated_keys: bool,
    /// Context length that length-dependent kinds of RoPE assume [default: largest position of the call + 1]
    #[arg(long, value_name = "N", requires = "rope", value_parser = positive, allow_negative_numbers = true)]
    rope_length: Option<u32>,
    /// Subtracts slope·|distance| with the paper's slopes; a tensor slopes takes their place
    #[arg(long)]
    alibi: bool,
    /// How the tensor t5 is read: keys after the query have buckets of their own (both), or none (causal)
    #[arg(long, value_enum, value_name = "causal|both")]
    t5: Option<T5Name>,
    /// Distance from which on all share the last bucket
    #[arg(long, value_name = "M", default_value_t = T5::causal().distance, requires = "t5", value_parser = count, allow_negative_numbers = true)]
    t5_distance: u32,
}

/// Heads that slopes are made for: an axis of a file without data may claim billions.
const MOST_HEADS: u32 = 1 << 20;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayoutName {
    Half,
    Interleaved,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum T5Name {
    Causal,
    Both,
}

impl PositionArgs {
    /// Adds what the options say; slopes that stand in the file stay.
    pub fn configure(&self, problem: &mut Problem) -> Result<()> {
        let score = &mut problem.score;
        if self.alibi && score.slopes.is_none() {
            let heads = problem.shape.q_heads;
            ensure!(
                heads <= MOST_HEADS,
                "--alibi makes a slope for each of {heads} heads; give at most {MOST_HEADS}"
            );
            score.slopes = Some(Values::Host(alibi_slopes(heads)));
        }
        ensure!(
            self.t5.is_none() || score.t5.is_some(),
            "--t5 needs the learned table; add a tensor t5 [buckets, Hq] to the file"
        );
        if let Some(path) = &self.rope {
            problem.position.rotary = Some(self.rotary(path, problem.shape.head_dim)?);
            problem.position.length = self.rope_length;
            problem.position.k_rotated = self.rotated_keys;
        }
        Ok(())
    }

    fn rotary(&self, path: &Path, head_dim: u32) -> Result<Rotary> {
        let file = path.display();
        let json = std::fs::read_to_string(path)
            .map_err(|e| anyhow!("{file} cannot be read: {e}; check the path"))?;
        let read = match &self.rope_layer {
            Some(layer) => Rotary::from_hf_layer(&json, layer),
            None => Rotary::from_hf_config(&json),
        };
        let rotary = read.with_context(|| file.to_string())?;
        ensure!(
            rotary.head_dim == head_dim,
            "{file} has a head size of {} but q has {head_dim} channels; {}",
            rotary.head_dim,
            way_out(&rotary)
        );
        let layout = match self.rope_layout {
            Some(LayoutName::Half) => RotaryLayout::Half,
            Some(LayoutName::Interleaved) => RotaryLayout::Interleaved,
            None => rotary.layout,
        };
        Ok(rotary.with_layout(layout))
    }

    /// How distances fall into the rows of a table of `buckets`.
    pub fn buckets(&self, buckets: u32) -> Result<T5> {
        let direction = self.t5.context(
            "the tensor t5 can be read in two ways; say which by --t5 causal or --t5 both, or remove it",
        )?;
        Ok(T5::causal()
            .with_buckets(buckets)
            .with_distance(self.t5_distance)
            .with_bidirectional(matches!(direction, T5Name::Both)))
    }
}

/// What to do about rows that are not of the config's size.
fn way_out(rotary: &Rotary) -> String {
    if rotary.start == 0 {
        return "give the config of the model that q and k come from".into();
    }
    let (still, rotated) = (rotary.start, rotary.dim);
    format!(
        "its rows are {still} channels (qk_nope_head_dim) and after them {rotated} that rotate (qk_rope_head_dim): give q \
         and k both parts, k's rotary part repeated for each head, and not the compressed rows"
    )
}

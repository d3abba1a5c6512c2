//! What is drawn.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::gpu::Gpu;
use crate::{config, file, mods, plan, problem};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Problems over all features, forward and backward, in both strategies, against the f64 reference
    Problem,
    /// Nonsense sizes, options and devices: a plan within every limit, or an error
    Plan,
    /// Mutated texts of user functions: what is accepted composes and is valid
    Mods,
    /// Mutated config.json files: what is accepted has finite frequencies
    Config,
    /// Mutated safetensors files and options, through attend
    File,
}

/// What cases are run with.
pub struct Bench {
    /// Where problems are drawn.
    pub gpu: Option<Gpu>,
    /// The tool that reads files.
    pub attend: PathBuf,
}

/// How a case that found no fault ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Done {
    Held,
    /// Backward too.
    WithGradients,
    /// By a typed error.
    Refused,
}

/// The fault, its first line a sentence.
pub type Outcome = Result<Done, String>;

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Plan => "plan",
            Self::Mods => "mods",
            Self::Config => "config",
            Self::File => "file",
        }
    }

    pub fn run(self, bench: &Bench, seed: u64) -> Outcome {
        match (self, &bench.gpu) {
            (Self::Problem, Some(gpu)) => problem::case(gpu, seed),
            (Self::Problem, None) => Err("no device was opened".into()),
            (Self::Plan, _) => plan::case(seed),
            (Self::Mods, _) => mods::case(seed),
            (Self::Config, _) => config::case(seed),
            (Self::File, _) => file::case(&bench.attend, seed),
        }
    }

    /// After which a case counts as hung. Software adapters on shared machines are slow; no kind comes near.
    pub fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Problem => 300,
            Self::Plan | Self::Mods | Self::Config => 30,
            Self::File => 120,
        })
    }
}

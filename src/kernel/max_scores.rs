//! The largest of many scores.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// Scores that one invocation goes through at the most.
pub const MAX_SCORES_RUN: u32 = 1024;

/// The key of the one such kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaxScores;

impl Kernel for MaxScores {
    fn entry(&self) -> &'static str {
        "max_scores"
    }

    fn compose(&self, source: &mut Source) {
        source.constant("RUN", MAX_SCORES_RUN);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "the largest of a run of scores per invocation".into()
    }

    fn shared_buffers(&self) -> u32 {
        0
    }
}

impl fmt::Display for MaxScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("max_scores")
    }
}

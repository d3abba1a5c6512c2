//! How much each block of queries wants each block of keys.

use std::fmt;

use crate::problem::MAX_LEN;
use crate::shader::Source;

use super::{Kernel, Workgroup};

/// The key of the step that scores blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScoreBlocks {
    /// Keys are pooled to their least and largest values.
    pub extremes: bool,
    /// A scan has told which blocks hold visible pairs.
    pub scanned: bool,
}

impl Kernel for ScoreBlocks {
    fn entry(&self) -> &'static str {
        "score_blocks"
    }

    fn compose(&self, source: &mut Source) {
        source.constant("FOUR", 4);
        source.signed("MAX_OFFSET", MAX_LEN as i32);
        source.flag("extremes", self.extremes);
        source.flag("scanned", self.scanned);
        source.flag("transposed", false);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "4 x 4 blocks per invocation".into()
    }
}

impl fmt::Display for ScoreBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.extremes { "extremes" } else { "means" };
        let scanned = if self.scanned { ", scanned" } else { "" };
        write!(f, "score_blocks by {by}{scanned}")
    }
}

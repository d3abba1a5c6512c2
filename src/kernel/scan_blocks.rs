//! Which blocks hold visible pairs.

use std::fmt;

use crate::problem::MAX_LEN;
use crate::shader::Source;

use super::{Kernel, Workgroup};

/// The key of the step that asks about every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanBlocks {
    /// Causal, window and lengths take part.
    pub intervals: bool,
    pub mask_mod: bool,
    /// Documents are compared pair by pair.
    pub segments: bool,
    /// A boolean mask takes part.
    pub dense: bool,
    /// Queries are drafts that branch.
    pub tree: bool,
}

impl Kernel for ScanBlocks {
    fn entry(&self) -> &'static str {
        "scan_blocks"
    }

    fn compose(&self, source: &mut Source) {
        source.signed("MAX_OFFSET", MAX_LEN as i32);
        source.flag("intervals", self.intervals);
        source.flag("mods", self.mask_mod);
        source.flag("mask_mod", self.mask_mod);
        source.flag("segments", self.segments);
        source.flag("dense_mask", self.dense);
        source.flag("tree", self.tree);
        source.flag("transposed", false);
        source.slot("mods", Vec::new());
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup {
            // What has been found.
            memory: 4,
            ..Workgroup::ROWS
        }
    }

    fn owns(&self) -> String {
        "a block per workgroup".into()
    }

    fn uses_mods(&self) -> bool {
        self.mask_mod
    }
}

impl fmt::Display for ScanBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |set: bool, name| if set { name } else { "" };
        write!(
            f,
            "scan_blocks{}{}{}{}{}",
            of(self.intervals, " intervals"),
            of(self.mask_mod, " mask_mod"),
            of(self.segments, " segments"),
            of(self.dense, " dense"),
            of(self.tree, " tree"),
        )
    }
}

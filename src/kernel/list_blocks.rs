//! The blocks that are kept, as lists.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// Where a list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListFrom {
    /// The highest scores.
    Scores,
    /// All blocks that a scan has found.
    Scan,
    /// The lists of the other axis.
    Lists,
}

/// The key of the step that lists blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListBlocks {
    pub from: ListFrom,
    /// Invocations that share a list.
    pub invocations: u32,
}

impl Kernel for ListBlocks {
    fn entry(&self) -> &'static str {
        "list_blocks"
    }

    fn compose(&self, source: &mut Source) {
        source.flag("top_k", self.from == ListFrom::Scores);
        source.flag("from_lists", self.from == ListFrom::Lists);
        let states = match self.from {
            ListFrom::Scores | ListFrom::Scan => "schedule::states_matrix",
            ListFrom::Lists => "schedule::states_lists",
        };
        source.slot("states", vec![states]);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup {
            invocations: self.invocations,
            // Two counts per invocation, and those of 16 rounds of 3 bounds.
            memory: (2 * self.invocations + 48) * 4,
        }
    }

    fn shared_buffers(&self) -> u32 {
        0
    }

    fn owns(&self) -> String {
        format!("a list per workgroup of {}", self.invocations)
    }
}

impl fmt::Display for ListBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.from {
            ListFrom::Scores => "list_blocks of the highest scores",
            ListFrom::Scan => "list_blocks of a scan",
            ListFrom::Lists => "list_blocks transposed",
        })
    }
}

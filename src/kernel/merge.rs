//! Merges partial results; of no partials it makes the result of fully masked rows.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Output, Workgroup};

/// The key of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Merge {
    pub output: Output,
}

impl Kernel for Merge {
    fn entry(&self) -> &'static str {
        "merge"
    }

    fn compose(&self, source: &mut Source) {
        source.slot("o_rows", self.output.modules(false));
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "4 channels of a row per invocation".into()
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "merge f32->{}", self.output)
    }
}

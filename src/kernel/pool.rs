//! What stands for each block of rows.

use std::fmt;

use crate::shader::Source;

use super::{Input, Kernel, Workgroup};

/// The key of the step that pools blocks of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pool {
    pub input: Input,
    /// Least and largest values; else means.
    pub extremes: bool,
}

impl Kernel for Pool {
    fn entry(&self) -> &'static str {
        "pool"
    }

    fn compose(&self, source: &mut Source) {
        source.slot("x_rows", self.input.modules(false));
        source.flag("extremes", self.extremes);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "4 channels of a block per invocation".into()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = if self.extremes { "extremes" } else { "means" };
        write!(f, "pool {} to {to}", self.input)
    }
}

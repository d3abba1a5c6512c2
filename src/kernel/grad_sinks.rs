//! Partials of the gradients of learned sinks.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// Rows that an invocation adds up for the sinks.
pub const SINK_ROWS: u32 = 256;

/// The key of the one such kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GradSinks;

impl Kernel for GradSinks {
    fn entry(&self) -> &'static str {
        "grad_sinks"
    }

    fn compose(&self, source: &mut Source) {
        source.constant("PART_ROWS", SINK_ROWS);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        format!("{SINK_ROWS} rows per invocation")
    }
}

impl fmt::Display for GradSinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grad_sinks")
    }
}

//! Looks for values that an operand may not hold.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// Words that an invocation looks at.
pub const CHECK_RUN: u32 = 256;

/// The key of the one such kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Check;

impl Kernel for Check {
    fn entry(&self) -> &'static str {
        "check"
    }

    fn compose(&self, source: &mut Source) {
        source.constant("RUN", CHECK_RUN);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        format!("{CHECK_RUN} words per invocation")
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("check")
    }
}

//! Adds up partials.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// The key of the one such kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reduce;

impl Kernel for Reduce {
    fn entry(&self) -> &'static str {
        "reduce"
    }

    fn compose(&self, _source: &mut Source) {}

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "a number per invocation".into()
    }
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reduce")
    }
}

//! Rotates rows by a Walsh–Hadamard matrix.

use std::fmt;

use crate::shader::Source;

use super::{Input, Kernel, Output, Workgroup};

/// The key of such a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hadamard {
    pub input: Input,
    pub output: Output,
}

impl Kernel for Hadamard {
    fn entry(&self) -> &'static str {
        "hadamard"
    }

    fn compose(&self, source: &mut Source) {
        source.slot("x_rows", self.input.modules(false));
        source.slot("o_rows", self.output.modules(false));
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn shared_buffers(&self) -> u32 {
        0
    }

    fn owns(&self) -> String {
        "4 channels of a row per invocation".into()
    }
}

impl fmt::Display for Hadamard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hadamard {}->{}", self.input, self.output)
    }
}

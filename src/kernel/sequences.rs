//! What follows from `cu_seqlens` that only the device knows.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Workgroup};

/// The key of the one such kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequences;

impl Kernel for Sequences {
    fn entry(&self) -> &'static str {
        "sequences"
    }

    fn compose(&self, _source: &mut Source) {}

    fn workgroup(&self) -> Workgroup {
        Workgroup {
            invocations: 1,
            memory: 0,
        }
    }

    fn shared_buffers(&self) -> u32 {
        0
    }

    fn owns(&self) -> String {
        "every sequence".into()
    }
}

impl fmt::Display for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sequences")
    }
}

//! dQ, by tiles of query rows.

use std::fmt;

use crate::shader::Source;

use super::{Gradient, Kernel, Tiles, Workgroup};

/// The key of a kernel that makes dQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GradQ(pub Gradient);

impl Kernel for GradQ {
    fn entry(&self) -> &'static str {
        "grad_q"
    }

    fn compose(&self, source: &mut Source) {
        self.0.compose(source, [false, false], [true, false]);
    }

    fn workgroup(&self) -> Workgroup {
        self.0.tiles().workgroup(0)
    }

    fn owns(&self) -> String {
        self.0.tiling.to_string()
    }

    fn tiles(&self) -> Option<Tiles> {
        Some(self.0.tiles())
    }

    fn uses_mods(&self) -> bool {
        self.0.uses_mods()
    }
}

impl fmt::Display for GradQ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name(self.entry(), f)
    }
}

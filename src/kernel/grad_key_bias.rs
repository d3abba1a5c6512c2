//! The gradient of a dense bias that queries share, by tiles of keys.

use std::fmt;

use crate::shader::Source;

use super::{Gradient, Kernel, Tiles, Workgroup};

/// The key of a kernel that sums a dense bias's gradient over queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GradKeyBias(pub Gradient);

impl Kernel for GradKeyBias {
    fn entry(&self) -> &'static str {
        "grad_key_bias"
    }

    fn compose(&self, source: &mut Source) {
        self.0.compose(source, [true, false], [false, false]);
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

impl fmt::Display for GradKeyBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name(self.entry(), f)
    }
}

//! Partials of the gradients of the score's own numbers, by tiles of query rows.

use std::fmt;

use crate::shader::Source;

use super::{Gradient, Kernel, Tiles, Workgroup};

/// Numbers of the score whose gradients one kernel makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScoreNumbers {
    /// ALiBi's slopes.
    Slopes,
    /// T5's table, [`T5_PARTS`] buckets at a time.
    T5,
}

/// Buckets whose sums a workgroup keeps beside its tile.
pub const T5_PARTS: u32 = 16;

impl ScoreNumbers {
    /// Numbers that a kernel makes at a time.
    pub fn parts(self) -> u32 {
        match self {
            Self::Slopes => 1,
            Self::T5 => T5_PARTS,
        }
    }
}

/// The key of a kernel that makes partials of the gradients of slopes or of T5's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GradScore(pub Gradient, pub ScoreNumbers);

impl GradScore {
    /// A word per invocation and number.
    fn sums(&self) -> u32 {
        self.1.parts() * self.0.tiling.invocations
    }
}

impl Kernel for GradScore {
    fn entry(&self) -> &'static str {
        "grad_score"
    }

    fn compose(&self, source: &mut Source) {
        self.0.compose(source, [false, false], [false, false]);
        source.flag("grad_slopes", self.1 == ScoreNumbers::Slopes);
        source.constant("PARTS", self.1.parts());
        source.constant("PART_SUMS", self.sums());
    }

    fn workgroup(&self) -> Workgroup {
        self.0.tiles().workgroup(4 * self.sums())
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

impl fmt::Display for GradScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = match self.1 {
            ScoreNumbers::Slopes => "grad_score slopes",
            ScoreNumbers::T5 => "grad_score t5",
        };
        self.0.name(entry, f)
    }
}

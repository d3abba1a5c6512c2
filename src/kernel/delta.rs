//! (lse, Δ) per query.

use std::fmt;

use crate::shader::Source;

use super::{Input, Kernel, Workgroup};

/// The key of the step that makes (lse, Δ) of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delta {
    pub o: Input,
    pub d_o: Input,
    /// A gradient by lse joins.
    pub dlse: bool,
}

impl Kernel for Delta {
    fn entry(&self) -> &'static str {
        "delta"
    }

    fn compose(&self, source: &mut Source) {
        source.slot("o_rows", self.o.modules(false));
        source.slot("d_o_rows", self.d_o.modules(false));
        source.flag("dlse", self.dlse);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "a row per invocation".into()
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dlse = if self.dlse { " dlse" } else { "" };
        write!(f, "delta {}x{}{dlse}", self.o, self.d_o)
    }
}

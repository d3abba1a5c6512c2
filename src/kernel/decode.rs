//! Attention of few queries: tiles that pack the rows of the query heads of one KV head, so that a key is read once for
//! all of them.

use std::fmt;

use crate::shader::Source;

use super::{Kernel, Prefill, Tiles, Workgroup};

/// The key of a decode kernel: that of a forward kernel, whose text it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decode(pub Prefill);

impl Kernel for Decode {
    fn entry(&self) -> &'static str {
        self.0.entry()
    }

    fn compose(&self, source: &mut Source) {
        self.0.compose_rows(source, true);
    }

    fn workgroup(&self) -> Workgroup {
        self.0.workgroup()
    }

    fn owns(&self) -> String {
        self.0.owns()
    }

    fn tiles(&self) -> Option<Tiles> {
        self.0.tiles()
    }

    fn uses_mods(&self) -> bool {
        self.0.uses_mods()
    }
}

impl fmt::Display for Decode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name("decode", f)
    }
}

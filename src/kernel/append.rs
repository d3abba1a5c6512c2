//! Writes new rows into a cache.

use std::fmt;

use crate::problem::{Element, INT4_GROUP, MAX_LEN};
use crate::shader::{Needs, Source};

use super::codec::add_chunks;
use super::{Address, Input, Kernel, Output, Workgroup};

/// The key of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Append {
    pub input: Input,
    pub output: Output,
    /// Where the cache's rows lie.
    pub to: Address,
    /// The new rows of all sequences lie one after the other.
    pub ragged: bool,
    /// Moves 64 bits, and eight channels, at a time.
    pub vec8: bool,
}

impl Append {
    /// Channels that an invocation moves, of rows of `dim`.
    pub fn channels(&self, dim: u32) -> u32 {
        match self.output.element {
            Element::Int8 => dim,
            Element::Int4 => INT4_GROUP,
            _ if self.vec8 => 8,
            _ => 4,
        }
    }
}

impl Kernel for Append {
    fn entry(&self) -> &'static str {
        "append"
    }

    fn compose(&self, source: &mut Source) {
        add_chunks(source, self.vec8);
        source.slot("x_rows", self.input.modules(self.vec8));
        source.slot("o_rows", self.output.modules_at(self.to, self.vec8));
        source.flag("quantized", self.output.element.is_quantized());
        source.flag("ragged", self.ragged);
        source.flag("ring", self.to == Address::Ring);
        source.flag("transposed", false);
        source.signed("MAX_OFFSET", MAX_LEN as i32);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        match self.output.element {
            Element::Int8 => "a row per invocation".into(),
            _ => format!("{} channels of a row per invocation", self.channels(4)),
        }
    }

    fn needs(&self) -> Needs {
        Needs {
            subgroups: false,
            int64: self.vec8,
        }
    }
}

impl fmt::Display for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "append {}->{}{}{}{}",
            self.input,
            self.output,
            self.to,
            if self.ragged { " of ragged rows" } else { "" },
            if self.vec8 { " vec8" } else { "" }
        )
    }
}

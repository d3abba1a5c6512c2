//! Moves f32 rows to where and how they are to be stored.

use std::fmt;

use crate::problem::Element;
use crate::shader::Source;

use super::codec::element_module;
use super::{Kernel, Workgroup};

/// Which rows a pack step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PackRows {
    /// As many as the output has, in its order.
    InOrder,
    /// Those of a table, by each token's position.
    Table {
        /// Adds to what the output holds.
        add: bool,
        /// Positions are given per token.
        positions: bool,
    },
}

/// The key of a kernel that moves f32 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pack {
    pub output: Element,
    pub rows: PackRows,
}

impl Kernel for Pack {
    fn entry(&self) -> &'static str {
        "pack"
    }

    fn compose(&self, source: &mut Source) {
        source.flag("half_output", self.output != Element::F32);
        let element = element_module(self.output).into_iter().collect();
        source.slot("o_element", element);
        let (by_position, add, positions) = match self.rows {
            PackRows::InOrder => (false, false, false),
            PackRows::Table { add, positions } => (true, add, positions),
        };
        source.flag("by_position", by_position);
        source.flag("add", add);
        source.flag("positions_given", positions);
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn owns(&self) -> String {
        "a word per invocation".into()
    }
}

impl fmt::Display for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            PackRows::InOrder => write!(f, "pack f32->{}", self.output),
            PackRows::Table { add, .. } => {
                let verb = if add { "added to" } else { "->" };
                write!(f, "pack table {verb} {}", self.output)
            }
        }
    }
}

//! Rotates rows by their positions.

use std::fmt;

use crate::problem::position::RotaryLayout;
use crate::shader::{Needs, Source};

use super::codec::add_chunks;
use super::{Address, Input, Kernel, Output, Workgroup};

/// Heads in which an invocation rotates its channels.
pub const ROTATED_HEADS: u32 = 4;

/// The key of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rotate {
    pub input: Input,
    /// Where the rows that are read lie.
    pub from: Address,
    pub output: Output,
    pub layout: RotaryLayout,
    /// Partners lie in whole 4-vectors: d is a multiple of 8 (half layout) or of 4.
    pub whole_chunks: bool,
    /// Moves 64 bits, and eight channels, at a time.
    pub vec8: bool,
    /// Positions are given per token.
    pub positions: bool,
    /// Else they begin anew in each sequence of a ragged batch, whose rows are those of one batch here.
    pub sequences: bool,
}

impl Rotate {
    /// Channels that are moved at a time.
    pub fn chunk_channels(&self) -> u32 {
        if self.vec8 { 8 } else { 4 }
    }
}

impl Kernel for Rotate {
    fn entry(&self) -> &'static str {
        "rotate"
    }

    fn compose(&self, source: &mut Source) {
        source.constant("HEADS", ROTATED_HEADS);
        add_chunks(source, self.vec8);
        source.slot("x_rows", self.input.modules_at(self.from, self.vec8));
        let half = self.layout == RotaryLayout::Half;
        source.flag("half_pairs", half);
        source.flag("whole_chunks", self.whole_chunks);
        source.flag("whole_halves", self.whole_chunks && half);
        source.flag("whole_interleaved", self.whole_chunks && !half);
        source.flag("positions_given", self.positions);
        source.flag("sequences", self.sequences);
        source.slot("o_rows", self.output.modules(self.vec8));
    }

    fn workgroup(&self) -> Workgroup {
        Workgroup::ROWS
    }

    fn shared_buffers(&self) -> u32 {
        2
    }

    fn owns(&self) -> String {
        format!(
            "{} channels, and those that are rotated with them, in {ROTATED_HEADS} heads per invocation",
            self.chunk_channels()
        )
    }

    fn needs(&self) -> Needs {
        Needs {
            subgroups: false,
            int64: self.vec8,
        }
    }
}

impl fmt::Display for Rotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rotate {}{}->{} {:?}{}{}{}",
            self.input,
            self.from,
            self.output,
            self.layout,
            if self.whole_chunks { "" } else { " ragged" },
            if self.vec8 { " vec8" } else { "" },
            if self.sequences { " sequences" } else { "" }
        )
    }
}

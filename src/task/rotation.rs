//! Rows rotated by their positions, as an operation of its own.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::problem::position::{Rotary, Side, check_count};
use crate::problem::{Element, Layout, MAX_LEN, Operand, Positions, tokens};

/// Rows `[B, H, N, D]` to be rotated by their positions, in place or not: what a cache does with its keys.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rotation {
    /// The scheme.
    pub rotary: Rotary,
    /// B
    pub batch: u32,
    /// H
    pub heads: u32,
    /// N
    pub len: u32,
    /// `[B, H, N, D]`, what is rotated.
    pub rows: Operand,
    /// `[B, H, N, D]`, where the result goes.
    pub rotated: Operand,
    /// [`Positions::Index`]: row i stands at `start + i`.
    pub positions: Positions,
    /// The position of row 0, for [`Positions::Index`].
    pub start: i32,
    /// Which side's table: it matters under xPos only.
    pub side: Side,
    /// Rotates back by the same angles, keeping the attention factor: the transpose, as gradients need it.
    pub transposed: bool,
    /// As in [`crate::problem::Position`].
    pub length: Option<u32>,
    /// As in [`crate::problem::Position`].
    pub range: Option<RangeInclusive<i32>>,
}

setters! {
    Rotation {
        with_rotary(rotary: Rotary);
        with_batch(batch: u32);
        with_heads(heads: u32);
        with_len(len: u32);
        with_rows(rows: Operand);
        with_rotated(rotated: Operand);
        with_positions(positions: Positions);
        with_start(start: i32);
        with_side(side: Side);
        with_transposed(transposed: bool);
        with_length(length?: u32);
        with_range(range?: RangeInclusive<i32>);
    }
}

impl Rotation {
    /// Contiguous `[B, H, N, D]` rows at positions 0 … N − 1.
    pub fn new(rotary: Rotary, [batch, heads, len]: [u32; 3], element: Element) -> Self {
        let rows = Operand::new(element, Layout::heads_first(heads, len, rotary.head_dim));
        Self {
            rotary,
            batch,
            heads,
            len,
            rows,
            rotated: rows,
            positions: Positions::Index,
            start: 0,
            side: Side::Query,
            transposed: false,
            length: None,
            range: None,
        }
    }

    pub(crate) fn sizes(&self) -> [u32; 3] {
        [self.batch, self.heads, self.len]
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.rotary.validate()?;
        if self.heads == 0 {
            return Err(Error::size("heads", self.heads, "at least 1"));
        }
        if self.len > MAX_LEN {
            return Err(Error::size("len", self.len, format!("at most {MAX_LEN}")));
        }
        let dim = self.rotary.head_dim;
        self.rows.validate("rows", self.sizes(), dim)?;
        self.rotated.validate("rotated", self.sizes(), dim)?;
        self.rotated.validate_output("rotated", self.sizes(), dim)?;
        match &self.positions {
            Positions::Host(p) => {
                Error::check_values("positions", p.len(), tokens(self.batch, self.len))
            }
            Positions::Index if self.start.checked_add_unsigned(self.len).is_none() => {
                let (start, end) = (self.start, i32::MAX);
                let allowed = format!("a start from which {} rows end below 2³¹", self.len);
                Err(Error::Positions {
                    start,
                    end,
                    allowed,
                })
            }
            Positions::Device => check_count("positions", self.batch, self.len),
            Positions::Index => Ok(()),
        }
    }

    pub(crate) fn known_range(&self) -> Option<RangeInclusive<i32>> {
        match &self.positions {
            Positions::Device => None,
            Positions::Host(p) => Some(*p.iter().min()?..=*p.iter().max()?),
            Positions::Index => Some(self.start..=self.start + self.len.max(1) as i32 - 1),
        }
    }
}

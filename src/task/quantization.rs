//! Rows stored with their scales, as an operation of its own.

use crate::error::{Error, Result};
use crate::problem::{Element, Layout, MAX_LEN, Operand, check_hadamard};

/// Rows `[B, H, N, dim]` stored as [`Element::Int8`] or [`Element::Int4`]: what a cache of the caller's does with its keys
/// and values. [`crate::quantize`] does the same on the host, to the bit where the device divides as it does; else a
/// number that lies half way between two may be stored as either.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantization {
    /// B
    pub batch: u32,
    /// H
    pub heads: u32,
    /// N
    pub len: u32,
    /// Channels of a row.
    pub dim: u32,
    /// What is stored, of a float type.
    pub rows: Operand,
    /// Where it goes, in a buffer of its own.
    pub stored: Operand,
    /// Rotates the rows by Walsh–Hadamard matrices before, for [`crate::Problem::k_hadamard`] and
    /// [`crate::Problem::v_hadamard`].
    pub hadamard: bool,
}

setters! {
    Quantization {
        with_batch(batch: u32);
        with_heads(heads: u32);
        with_len(len: u32);
        with_dim(dim: u32);
        with_rows(rows: Operand);
        with_stored(stored: Operand);
        with_hadamard(hadamard: bool);
    }
}

impl Quantization {
    /// Contiguous rows of `from`, stored side by side as `to`.
    pub fn new([batch, heads, len]: [u32; 3], dim: u32, from: Element, to: Element) -> Self {
        Self {
            batch,
            heads,
            len,
            dim,
            rows: Operand::new(from, Layout::heads_first(heads, len, dim)),
            stored: Operand::heads_first(to, heads, len, dim),
            hadamard: false,
        }
    }

    pub(crate) fn sizes(&self) -> [u32; 3] {
        [self.batch, self.heads, self.len]
    }

    pub(crate) fn validate(&self) -> Result<()> {
        for (what, value) in [("heads", self.heads), ("dim", self.dim)] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        if self.len > MAX_LEN {
            return Err(Error::size("len", self.len, format!("at most {MAX_LEN}")));
        }
        let element = self.stored.element;
        if !element.is_quantized() {
            return Err(Error::NotQuantized { element });
        }
        check_hadamard("hadamard", self.hadamard, self.dim)?;
        let (sizes, dim) = (self.sizes(), self.dim);
        self.rows.validate("rows", sizes, dim)?;
        self.stored.validate_stored("stored", sizes, dim)?;
        self.stored.validate_output("stored", sizes, dim)
    }
}

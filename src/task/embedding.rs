//! Absolute position schemes: a table's rows written to embeddings, or added onto them, by position.

use crate::error::{Error, Result};
use crate::problem::position::absolute::check_positions;
use crate::problem::position::check_count;
use crate::problem::{Element, Layout, MAX_LEN, Operand, Positions, tokens};

/// Embeddings `[B, N, dim]` that get the row of an f32 table `[rows, dim]` at each token's position: the sinusoidal
/// tables and interpolated learned ones of [`crate::problem::position::absolute`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// B
    pub batch: u32,
    /// N
    pub len: u32,
    /// Channels of a token.
    pub dim: u32,
    /// Rows of the table.
    pub rows: u32,
    /// The strides of batch and row count; the head's does not.
    pub embeddings: Operand,
    /// Adds to what is there; else writes.
    pub add: bool,
    /// [`Positions::Index`]: token i stands at `start + i`. Those on the device are clamped to the table.
    pub positions: Positions,
    /// The position of token 0, for [`Positions::Index`].
    pub start: i32,
}

setters! {
    Embedding {
        with_batch(batch: u32);
        with_len(len: u32);
        with_dim(dim: u32);
        with_rows(rows: u32);
        with_embeddings(embeddings: Operand);
        with_add(add: bool);
        with_positions(positions: Positions);
        with_start(start: i32);
    }
}

impl Embedding {
    /// Adds to contiguous `[B, N, dim]` embeddings, token i at position i.
    pub fn new([batch, len, dim]: [u32; 3], rows: u32, element: Element) -> Self {
        let embeddings = Operand::new(element, Layout::heads_first(1, len, dim));
        Self {
            batch,
            len,
            dim,
            rows,
            embeddings,
            add: true,
            positions: Positions::Index,
            start: 0,
        }
    }

    pub(crate) fn sizes(&self) -> [u32; 3] {
        [self.batch, 1, self.len]
    }

    pub(crate) fn validate(&self) -> Result<()> {
        for (what, value) in [("dim", self.dim), ("rows of the table", self.rows)] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        if self.len > MAX_LEN {
            return Err(Error::size("len", self.len, format!("at most {MAX_LEN}")));
        }
        let table = u64::from(self.rows) * u64::from(self.dim);
        if table > u64::from(u32::MAX) {
            return Err(Error::Extent {
                what: "table",
                end: Some(table),
            });
        }
        self.embeddings
            .validate("embeddings", self.sizes(), self.dim)?;
        self.embeddings
            .validate_output("embeddings", self.sizes(), self.dim)?;
        match &self.positions {
            Positions::Device => check_count("positions", self.batch, self.len),
            Positions::Host(p) => {
                Error::check_values("positions", p.len(), tokens(self.batch, self.len))?;
                check_positions("positions", p, self.rows)
            }
            Positions::Index if self.len == 0 => Ok(()),
            Positions::Index => {
                let last = self.start.saturating_add(self.len as i32 - 1);
                check_positions("positions", &[self.start, last], self.rows)
            }
        }
    }
}

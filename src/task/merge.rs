//! Joining partial results.

use crate::error::{Error, Result};
use crate::problem::{Element, Layout, MAX_DIM, MAX_LEN, Magnitude, Operand, Values, tokens};

/// Partial results `(o, lse)` of the same queries over disjoint keys, to be merged: `lse = ln Σ e^lse_k`,
/// `O = Σ e^(lse_k − lse)·O_k`. An empty partial is (0, −∞); two of them merge to the same.
///
/// Splits, keys past a binding, shared prefixes, time slices and ring attention come down to this operation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Merge {
    /// Partial results of each row.
    pub parts: u32,
    /// B
    pub batch: u32,
    /// H
    pub heads: u32,
    /// Nq
    pub q_len: u32,
    /// Dv
    pub value_dim: u32,
    /// Learned sinks `[H]`, which partials never contain: the last merge adds them.
    pub sinks: Option<Values>,
    /// Where the merged `[B, H, Nq, Dv]` goes.
    pub o: Operand,
    /// Where the merged lse goes, f32 `[B, H, Nq]`.
    pub lse: Layout,
}

setters! {
    Merge {
        with_parts(parts: u32);
        with_batch(batch: u32);
        with_heads(heads: u32);
        with_q_len(q_len: u32);
        with_value_dim(value_dim: u32);
        with_sinks(sinks?: Values);
        with_o(o: Operand);
        with_lse(lse: Layout);
    }
}

impl Merge {
    /// Contiguous `[B, H, Nq, Dv]` as the output.
    pub fn new(
        parts: u32,
        [batch, heads, q_len]: [u32; 3],
        value_dim: u32,
        element: Element,
    ) -> Self {
        let o = Operand::new(element, Layout::heads_first(heads, q_len, value_dim));
        Self {
            parts,
            batch,
            heads,
            q_len,
            value_dim,
            sinks: None,
            o,
            lse: Layout::heads_first(heads, q_len, 1),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.heads == 0 {
            return Err(Error::size("heads", self.heads, "at least 1"));
        }
        if self.value_dim == 0 || self.value_dim > MAX_DIM {
            return Err(Error::size(
                "value_dim",
                self.value_dim,
                format!("1 to {MAX_DIM}"),
            ));
        }
        if self.q_len > MAX_LEN {
            return Err(Error::size(
                "q_len",
                self.q_len,
                format!("at most {MAX_LEN}"),
            ));
        }
        let sizes = [self.batch, self.heads, self.q_len];
        self.o.validate("o", sizes, self.value_dim)?;
        self.o.validate_output("o", sizes, self.value_dim)?;
        self.lse_operand().validate("lse", sizes, 1)?;
        self.lse_operand().validate_output("lse", sizes, 1)?;
        if let Some(sinks) = &self.sinks {
            sinks.validate("sinks", self.heads.into(), Magnitude::SCORE)?;
        }
        let partials = u64::from(self.parts).saturating_mul(self.elements());
        if partials > u64::from(u32::MAX) {
            return Err(Error::Extent {
                what: "partial_o",
                end: Some(partials),
            });
        }
        Ok(())
    }

    /// lse as a tensor of one channel.
    pub(crate) fn lse_operand(&self) -> Operand {
        Operand::new(Element::F32, self.lse)
    }

    pub(crate) fn rows(&self) -> u64 {
        match self.q_len {
            0 => 0,
            len => tokens(self.batch, self.heads).saturating_mul(len.into()),
        }
    }

    fn elements(&self) -> u64 {
        self.rows().saturating_mul(self.value_dim.into())
    }
}

//! Which problems share tiles.

use std::fmt;

use crate::problem::Element;

/// Kernels that have tiles of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelFamily {
    /// Many queries.
    Prefill,
    /// Few queries against many keys.
    Decode,
    /// dQ.
    GradQ,
    /// dK and dV.
    GradKv,
}

/// What hides pairs, as far as it changes which tiles are fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaskClass {
    /// Nothing but lengths.
    Full,
    /// Causal masks and windows.
    Interval,
    /// Documents, trees, bits per pair.
    Marked,
    /// Blocks, listed or chosen.
    Blocks,
}

/// A class of problems, for which a [`crate::Tuning`] has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Class {
    /// Which kernel.
    pub kernel: KernelFamily,
    /// How q, k and v are stored.
    pub elements: [Element; 3],
    /// D.
    pub head_dim: u32,
    /// Dv.
    pub value_dim: u32,
    /// Rows of the tiled axis, up to the next power of two, [`Class::MOST_ROWS`] at the most.
    pub rows: u32,
    /// Less than 0.3 GFLOP, which takes about as long as its launch.
    pub small: bool,
    /// What hides pairs.
    pub mask: MaskClass,
    /// The score has a dense bias.
    pub bias: bool,
}

setters! {
    Class {
        with_elements(elements: [Element; 3]);
        with_value_dim(value_dim: u32);
        with_rows(rows: u32);
        with_small(small: bool);
        with_mask(mask: MaskClass);
        with_bias(bias: bool);
    }
}

impl Class {
    /// Large calls with as many rows as make a difference, where q, k and v are stored alike and v has the channels of q,
    /// without a mask and a bias.
    pub const fn new(kernel: KernelFamily, element: Element, head_dim: u32) -> Self {
        Self {
            kernel,
            elements: [element; 3],
            head_dim,
            value_dim: head_dim,
            rows: Self::MOST_ROWS,
            small: false,
            mask: MaskClass::Full,
            bias: false,
        }
    }

    /// Rows from which on more make no difference to tiles.
    pub const MOST_ROWS: u32 = 1024;
}

impl KernelFamily {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Prefill, Self::Decode, Self::GradQ, Self::GradKv];
}

impl MaskClass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::Interval, Self::Marked, Self::Blocks];
}

impl fmt::Display for KernelFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::GradQ => "grad_q",
            Self::GradKv => "grad_kv",
        })
    }
}

impl fmt::Display for MaskClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Interval => "interval",
            Self::Marked => "marked",
            Self::Blocks => "blocks",
        })
    }
}

/// `prefill f16 D=64 Dv=64, 1024 rows, interval`
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [q, k, v] = self.elements;
        write!(f, "{} {q}", self.kernel)?;
        if [k, v] != [q, q] {
            write!(f, "/{k}/{v}")?;
        }
        write!(
            f,
            " D={} Dv={}, {} rows, {}",
            self.head_dim, self.value_dim, self.rows, self.mask
        )?;
        f.write_str(if self.bias { ", bias" } else { "" })?;
        f.write_str(if self.small { ", small" } else { "" })
    }
}

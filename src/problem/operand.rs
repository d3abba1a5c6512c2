//! Where an operand's elements lie.

use std::fmt;

use crate::error::{Error, Result};

/// How a number is stored in a buffer; accumulation is always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// IEEE binary32
    #[default]
    F32,
    /// IEEE binary16
    F16,
    /// The upper half of a binary32.
    BF16,
}

impl Element {
    /// All storage types.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Elements in one 32-bit word.
    pub fn per_word(self) -> u64 {
        4 / self.size()
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}

/// Element strides of a `[batch, head, row, channel]` operand; channels are contiguous. Inputs may have stride 0
/// (broadcast).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Elements before the first one, for an operand inside of a larger buffer (packed QKV, an arena).
    pub offset: u64,
    /// Elements from one batch to the next.
    pub batch: u64,
    /// Elements from one head to the next.
    pub head: u64,
    /// Elements from one row to the next.
    pub row: u64,
}

impl Layout {
    /// Contiguous `[B, H, N, D]`.
    pub fn heads_first(heads: u32, rows: u32, dim: u32) -> Self {
        let (heads, rows, dim) = (u64::from(heads), u64::from(rows), u64::from(dim));
        Self {
            offset: 0,
            batch: (rows * dim).saturating_mul(heads),
            head: rows * dim,
            row: dim,
        }
    }

    /// Contiguous `[B, N, H, D]`.
    pub fn rows_first(heads: u32, rows: u32, dim: u32) -> Self {
        let (heads, rows, dim) = (u64::from(heads), u64::from(rows), u64::from(dim));
        Self {
            offset: 0,
            batch: (heads * dim).saturating_mul(rows),
            head: dim,
            row: heads * dim,
        }
    }

    /// The same strides, `offset` elements further on.
    pub fn at(self, offset: u64) -> Self {
        Self {
            offset: self.offset.saturating_add(offset),
            ..self
        }
    }

    /// The index of the first element of row `(b, h, i)`, at most 2⁶⁴ − 1.
    pub fn index(&self, b: u32, h: u32, i: u32) -> u64 {
        [(b, self.batch), (h, self.head), (i, self.row)]
            .into_iter()
            .map(|(n, stride)| u64::from(n).saturating_mul(stride))
            .fold(self.offset, u64::saturating_add)
    }

    /// One past the last element of an operand of these sizes; `None` past 2⁶⁴. Nothing for an empty operand.
    pub fn end(&self, [batch, heads, rows]: [u32; 3], dim: u32) -> Option<u64> {
        if batch == 0 || heads == 0 || rows == 0 {
            return Some(0);
        }
        let span = |n: u32, stride: u64| u64::from(n - 1).checked_mul(stride);
        self.offset
            .checked_add(span(batch, self.batch)?)?
            .checked_add(span(heads, self.head)?)?
            .checked_add(span(rows, self.row)?)?
            .checked_add(u64::from(dim))
    }

    /// True when every row starts at a multiple of `n` elements.
    pub fn is_aligned(&self, n: u64) -> bool {
        [self.offset, self.batch, self.head, self.row]
            .iter()
            .all(|x| x.is_multiple_of(n))
    }
}

/// One tensor of a problem: its element type and its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Operand {
    /// The storage type.
    pub element: Element,
    /// Where rows lie.
    pub layout: Layout,
}

setters! {
    Operand {
        with_element(element: Element);
        with_layout(layout: Layout);
    }
}

impl Operand {
    /// A tensor of this type and layout.
    pub fn new(element: Element, layout: Layout) -> Self {
        Self { element, layout }
    }

    /// Bytes that a buffer must have, rounded up to whole 32-bit words; 2⁶⁴ − 4 for more than there can be.
    pub fn bytes(&self, sizes: [u32; 3], dim: u32) -> u64 {
        let elements = self.layout.end(sizes, dim);
        elements
            .and_then(|n| n.checked_mul(self.element.size()))
            .and_then(|n| n.checked_next_multiple_of(4))
            .unwrap_or(u64::MAX - 3)
    }

    pub(crate) fn validate(&self, what: &'static str, sizes: [u32; 3], dim: u32) -> Result<()> {
        let end = self.layout.end(sizes, dim);
        // Shaders index elements with u32.
        match end {
            Some(end) if end <= u64::from(u32::MAX) => Ok(()),
            _ => Err(Error::Extent { what, end }),
        }
    }

    /// Outputs may not overlap themselves: each stride, from the smallest up, must clear what lies inside of it.
    pub(crate) fn validate_output(
        &self,
        what: &'static str,
        sizes: [u32; 3],
        dim: u32,
    ) -> Result<()> {
        if sizes.contains(&0) {
            return Ok(());
        }
        let layout = &self.layout;
        let mut axes = [
            ("batch", sizes[0], layout.batch),
            ("head", sizes[1], layout.head),
            ("row", sizes[2], layout.row),
        ];
        axes.sort_by_key(|axis| axis.2);
        let mut inner = u64::from(dim);
        for (axis, size, stride) in axes {
            if size > 1 {
                if stride < inner {
                    return Err(Error::Overlap {
                        what,
                        axis,
                        stride,
                        least: inner,
                    });
                }
                // Nothing is too far for the operand's own check, so this is a bound, too.
                inner = inner.saturating_add(u64::from(size - 1).saturating_mul(stride));
            }
        }
        Ok(())
    }
}

//! Where an operand's elements lie.

use std::fmt;

use crate::error::{Error, Result};

/// How a number is stored in a buffer; accumulation is always f32.
///
/// The three floats are stored number by number. [`Element::QUANTIZED`] rows are stored whole, with their scales inside,
/// and only k and v of a forward call may be. Their layouts count bytes ([`Element::Int8`]) or half bytes
/// ([`Element::Int4`]), [`Element::row_elements`] of them to a row, and every row begins at a whole 32-bit word;
/// [`crate::quantize`] makes and reads such rows, and says how far they are from what they store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Element {
    /// IEEE binary32
    #[default]
    F32,
    /// IEEE binary16
    F16,
    /// The upper half of a binary32.
    BF16,
    /// Signed bytes n with one scale per row: x = scale · n. A word with the scale as f32, then four channels to a word,
    /// the first in its low byte; bytes past the last channel are 0. A scale that is no finite number makes the row NaN.
    Int8,
    /// Half bytes n of 0 to 15 with a scale and a minimum per 32 channels: x = minimum + scale · n. Per group of 32
    /// channels, the last one whole too, a word with the scale (low half) and the minimum as f16, then four words of eight
    /// channels, the first in the low bits.
    Int4,
}

/// Channels of a row of [`Element::Int4`] that share a scale and a minimum.
pub(crate) const INT4_GROUP: u32 = 32;
/// Words of such a group: scale and minimum, and eight channels in each of four.
pub(crate) const INT4_GROUP_WORDS: u32 = 1 + INT4_GROUP / 8;

impl Element {
    /// The types that store number by number, which every operand may have.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];
    /// The types that store whole rows with their scales, which k and v may have.
    pub const QUANTIZED: [Self; 2] = [Self::Int8, Self::Int4];

    /// Bits of one element.
    pub fn bits(self) -> u64 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::BF16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// Bytes of so many elements, rounded up, at most 2⁶⁴ − 1.
    pub fn bytes(self, elements: u64) -> u64 {
        let bits = u128::from(elements) * u128::from(self.bits());
        u64::try_from(bits.div_ceil(8)).unwrap_or(u64::MAX)
    }

    /// Elements in one 32-bit word.
    pub fn per_word(self) -> u64 {
        32 / self.bits()
    }

    /// True for types whose rows hold scales.
    pub fn is_quantized(self) -> bool {
        Self::QUANTIZED.contains(&self)
    }

    /// The elements that a row of `dim` channels takes, scales among them: the distance of rows that lie side by side.
    pub fn row_elements(self, dim: u32) -> u32 {
        let words = match self {
            Self::F32 | Self::F16 | Self::BF16 => return dim,
            Self::Int8 => 1 + dim.div_ceil(4),
            Self::Int4 => dim.div_ceil(INT4_GROUP).saturating_mul(INT4_GROUP_WORDS),
        };
        words.saturating_mul(self.per_word() as u32)
    }
}

impl Element {
    /// Refuses types whose rows hold scales.
    pub(crate) fn validate_float(self, what: &'static str) -> Result<()> {
        match self.is_quantized() {
            true => Err(Error::Quantized {
                what,
                element: self,
            }),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// Element strides of a `[batch, head, row, channel]` operand; channels are contiguous. Inputs may have stride 0
/// (broadcast). An offset and three strides are all that a layout is, so a literal may state it.
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

    /// A tensor of this type whose rows of `dim` channels lie side by side, `[B, H, N]` of them.
    pub fn heads_first(element: Element, heads: u32, rows: u32, dim: u32) -> Self {
        let dim = element.row_elements(dim);
        Self::new(element, Layout::heads_first(heads, rows, dim))
    }

    /// Bytes that a buffer must have, rounded up to whole 32-bit words; 2⁶⁴ − 4 for more than there can be.
    pub fn bytes(&self, sizes: [u32; 3], dim: u32) -> u64 {
        let elements = self.layout.end(sizes, self.element.row_elements(dim));
        elements
            .map(|n| self.element.bytes(n))
            .and_then(|n| n.checked_next_multiple_of(4))
            .unwrap_or(u64::MAX - 3)
    }

    /// Bytes of a row of `dim` channels.
    pub(crate) fn row_bytes(&self, dim: u32) -> u64 {
        self.element.bytes(self.element.row_elements(dim).into())
    }

    /// Of an operand that stores number by number.
    pub(crate) fn validate(&self, what: &'static str, sizes: [u32; 3], dim: u32) -> Result<()> {
        self.element.validate_float(what)?;
        self.validate_stored(what, sizes, dim)
    }

    /// Of an operand whose rows may be stored whole, with their scales.
    pub(crate) fn validate_stored(
        &self,
        what: &'static str,
        sizes: [u32; 3],
        dim: u32,
    ) -> Result<()> {
        self.validate_words(what)?;
        let end = self.layout.end(sizes, self.element.row_elements(dim));
        // Shaders index elements with u32.
        match end {
            Some(end) if end <= u64::from(u32::MAX) => Ok(()),
            _ => Err(Error::Extent { what, end }),
        }
    }

    /// Rows that hold scales begin at whole words.
    fn validate_words(&self, what: &'static str) -> Result<()> {
        if !self.element.is_quantized() {
            return Ok(());
        }
        let (layout, per_word) = (&self.layout, self.element.per_word());
        let distances = [
            ("offset", layout.offset),
            ("batch stride", layout.batch),
            ("head stride", layout.head),
            ("row stride", layout.row),
        ];
        match distances
            .into_iter()
            .find(|x| !x.1.is_multiple_of(per_word))
        {
            None => Ok(()),
            Some((distance, actual)) => Err(Error::WholeWords {
                what,
                distance,
                actual,
                element: self.element,
                per_word,
            }),
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
        let mut inner = u64::from(self.element.row_elements(dim));
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

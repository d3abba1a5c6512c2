//! A boolean mask: a bit per pair.

use std::sync::Arc;

use crate::error::{Error, Result};

use super::{Layout, Shape};

/// A boolean mask `[B|1, Hq|1, Nq|1, Nk]`, one bit per pair, set where the query sees the key; it combines with all other
/// masks. It is asked pair by pair in every tile: what intervals, documents or blocks can say, they say cheaper.
///
/// Key j of a row is bit `j % 32` of word `j / 32`, the lowest bit first; a row has [`Self::row_words`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DenseMask {
    /// Strides in words; 0 for an axis that is broadcast.
    pub layout: Layout,
    /// The words.
    pub bits: MaskBits,
}

/// Who holds the bits of a [`DenseMask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaskBits {
    /// Known to the host.
    Host(Arc<[u32]>),
    /// `u32` words in the buffer `mask` of the operands.
    Device,
}

setters! {
    DenseMask {
        with_layout(layout: Layout);
        with_bits(bits: MaskBits);
    }
}

impl DenseMask {
    /// Of bits that lie by this layout, in words.
    pub const fn new(layout: Layout, bits: MaskBits) -> Self {
        Self { layout, bits }
    }

    /// Of a `[batch, heads, rows, kv_len]` of bools, where sizes of 1 are broadcast.
    ///
    /// # Errors
    ///
    /// When there are more or fewer bools than the sizes say.
    pub fn from_bools(sizes: [u32; 3], kv_len: u32, visible: &[bool]) -> Result<Self> {
        let pairs = sizes.iter().fold(u64::from(kv_len), |pairs, &n| {
            pairs.saturating_mul(n.into())
        });
        Error::check_values("mask", visible.len(), pairs)?;
        Ok(Self {
            bits: MaskBits::Host(Self::pack(kv_len, visible).into()),
            ..Self::device(sizes, kv_len)
        })
    }

    /// Of contiguous words in the buffer `mask` of the operands, as [`Self::pack`] makes them of a `[batch, heads, rows,
    /// kv_len]` of bools; sizes of 1 are broadcast.
    pub fn device([batch, heads, rows]: [u32; 3], kv_len: u32) -> Self {
        let whole = Layout::heads_first(heads, rows, Self::row_words(kv_len));
        let stride = |size: u32, stride: u64| if size == 1 { 0 } else { stride };
        Self {
            layout: Layout {
                batch: stride(batch, whole.batch),
                head: stride(heads, whole.head),
                row: stride(rows, whole.row),
                ..whole
            },
            bits: MaskBits::Device,
        }
    }

    /// The bits of rows of `kv_len` bools.
    pub fn pack(kv_len: u32, visible: &[bool]) -> Vec<u32> {
        let word = |keys: &[bool]| {
            let bits = keys.iter().enumerate();
            bits.fold(0, |word, (n, &sees)| word | u32::from(sees) << n)
        };
        let rows = visible.chunks(kv_len.max(1) as usize);
        rows.flat_map(|row| row.chunks(32).map(word)).collect()
    }

    /// Words of a row: ⌈Nk/32⌉.
    pub fn row_words(kv_len: u32) -> u32 {
        kv_len.div_ceil(32)
    }

    /// Words up to the last one of the mask.
    pub(crate) fn words(&self, shape: &Shape) -> Option<u64> {
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        self.layout.end(sizes, Self::row_words(shape.kv_len))
    }

    /// Whether the bit of a pair is set in `words`, those of the host or of the device.
    pub(crate) fn sees(&self, words: &[u32], [b, h, i, j]: [u32; 4]) -> bool {
        let word = words[self.layout.index(b, h, i) as usize + (j / 32) as usize];
        word >> (j % 32) & 1 == 1
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        let end = self.words(shape);
        let words = end.filter(|&end| end <= u64::from(u32::MAX));
        let words = words.ok_or(Error::Extent { what: "mask", end })? as usize;
        match &self.bits {
            MaskBits::Host(bits) if bits.len() < words => Err(Error::Values {
                what: "mask",
                actual: bits.len(),
                expected: words,
            }),
            _ => Ok(()),
        }
    }
}

//! Where rows of k and v lie in a cache: at equal distances, in pages of a pool, or in a ring.

use crate::error::{Error, Result};

use super::{Lengths, Mask, Offsets, Shape};

/// Rows of a page, at most.
pub const MAX_PAGE: u32 = 1 << 16;

/// Where row j of a batch's keys and values lies. Masks, schedules and positions know rows by their number in the
/// sequence and do not notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvAddress {
    /// At equal distances: k `[B, Hkv, Nk, D]`, v `[B, Hkv, Nk, Dv]`.
    #[default]
    Strided,
    /// In pages of a pool (PagedAttention, arXiv 2309.06180, section 4): k `[pages, Hkv, page_len, D]`, v the same with Dv.
    Paged(Pages),
    /// Only the first rows and the latest are kept (StreamingLLM, arXiv 2309.17453): k `[B, Hkv, first + len, D]`.
    Ring(Ring),
}

/// A pool of pages, and how a table in the operand `page_table`, `u32 [B, per_sequence]`, names them: row j of batch b lies
/// in page `page_table[b, j / page_len]`. A number past the pool is taken for its last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Pages {
    /// Rows of a page: a power of two.
    pub page_len: u32,
    /// Pages of the pool.
    pub pages: u32,
    /// Pages of a sequence, at most; `per_sequence · page_len` is at least `kv_len`.
    pub per_sequence: u32,
}

/// Rows `0 … first − 1` stay where they are; row j of the others lies in `first + (j − first) mod len`, where the row `len`
/// before it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ring {
    /// Rows that stay.
    pub first: u32,
    /// Rows of the ring. A call of n queries and a window of `left` keys before each looks at `left + n` of them.
    pub len: u32,
}

impl KvAddress {
    /// Batches, KV heads and rows of the buffers of k and v, for a problem of these sizes.
    pub fn sizes(&self, shape: &Shape) -> [u32; 3] {
        match *self {
            Self::Strided => [shape.batch, shape.kv_heads, shape.kv_len],
            Self::Paged(pages) => [pages.pages, shape.kv_heads, pages.page_len],
            Self::Ring(ring) => {
                let rows = ring.first.saturating_add(ring.len);
                [shape.batch, shape.kv_heads, rows]
            }
        }
    }

    /// Refuses what reads strided rows only.
    pub(crate) fn check_strided(&self, what: &'static str) -> Result<()> {
        let address = match self {
            Self::Strided => return Ok(()),
            Self::Paged(_) => "pages",
            Self::Ring(_) => "a ring",
        };
        Err(Error::Address { what, address })
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        match *self {
            Self::Strided => Ok(()),
            Self::Paged(pages) => pages.validate(shape),
            Self::Ring(ring) if ring.len == 0 => {
                Err(Error::size("the ring's len", ring.len, "at least 1"))
            }
            Self::Ring(_) => Ok(()),
        }
    }

    /// A call looks at no row that the ring does not keep. Lengths and offsets that only the device knows are taken for those
    /// of queries behind all other keys.
    pub(crate) fn validate_mask(&self, shape: &Shape, mask: &Mask, first_query: u32) -> Result<()> {
        let Self::Ring(ring) = *self else {
            return Ok(());
        };
        let told =
            matches!(mask.kv_lens, Lengths::Host(_)) || matches!(mask.q_offset, Offsets::Host(_));
        let batches = if told { shape.batch } else { 1 };
        let needed = (0..batches).map(|b| (ring.needed(shape, mask, b, first_query), b));
        let (needed, b) = needed.max().unwrap_or_default();
        if u64::from(ring.len) < needed {
            let of = match told {
                true => format!("the queries of batch {b}"),
                false => format!("{} queries", shape.q_len),
            };
            return Err(Error::size(
                "the ring's len",
                ring.len,
                format!(
                    "at least {needed}, the keys from the first that {of} see to the last that there is"
                ),
            ));
        }
        if mask.window.is_some() && mask.first > ring.first {
            return Err(Error::size(
                "mask.first",
                mask.first,
                format!("at most {}, the rows that the ring keeps", ring.first),
            ));
        }
        Ok(())
    }
}

setters! {
    Ring {
        with_first(first: u32);
        with_len(len: u32);
    }
}

impl Ring {
    /// `first` rows that stay and a ring of `len` behind them.
    pub const fn new(first: u32, len: u32) -> Self {
        Self { first, len }
    }

    /// Rows that it must have for what the queries of batch `b` see, from `first_query` on: of `len` keys it keeps those from
    /// `len − self.len` on, and the first.
    fn needed(&self, shape: &Shape, mask: &Mask, b: u32, first_query: u32) -> u64 {
        let left = mask.window.and_then(|window| window.left);
        let known = mask.len(shape, b).zip(mask.offset(shape, b));
        let (Some(left), (len, offset)) = (left, known.unwrap_or_default()) else {
            let len = mask.len(shape, b).unwrap_or(shape.kv_len);
            return u64::from(len.saturating_sub(self.first));
        };
        if known.is_none() {
            return u64::from(left) + u64::from(shape.q_len);
        }
        let first_visible = offset + i64::from(first_query) - i64::from(left);
        (i64::from(len) - first_visible.max(self.first.into())).max(0) as u64
    }
}

setters! {
    Pages {
        with_page_len(page_len: u32);
        with_pages(pages: u32);
        with_per_sequence(per_sequence: u32);
    }
}

impl Pages {
    /// A pool of `pages` pages of `page_len` rows, of which a sequence has `per_sequence` at most.
    pub const fn new(page_len: u32, pages: u32, per_sequence: u32) -> Self {
        Self {
            page_len,
            pages,
            per_sequence,
        }
    }

    fn validate(&self, shape: &Shape) -> Result<()> {
        if !self.page_len.is_power_of_two() || self.page_len > MAX_PAGE {
            let allowed = format!("a power of two, at most {MAX_PAGE}");
            return Err(Error::size("page_len", self.page_len, allowed));
        }
        if self.pages == 0 && shape.kv_len > 0 {
            return Err(Error::size("pages", self.pages, "at least 1"));
        }
        let rows = u64::from(self.per_sequence) * u64::from(self.page_len);
        if rows < u64::from(shape.kv_len) {
            let needed = shape.kv_len.div_ceil(self.page_len);
            let allowed = format!("at least {needed}, for kv_len = {}", shape.kv_len);
            return Err(Error::size("per_sequence", self.per_sequence, allowed));
        }
        Ok(())
    }
}

//! A tensor in a buffer, and what of it a step binds: all of it where one binding holds that, else the window in which
//! the step's rows lie.

use std::ops::Range;

use crate::kernel::{Address, Params, Strides};
use crate::problem::Layout;

use super::limits::product;
use super::{Binding, OFFSET_ALIGNMENT, Slot};

/// Rows of a tensor, counted in the whole problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub batches: Range<u32>,
    pub heads: Range<u32>,
    pub rows: Range<u32>,
}

/// A tensor as a step sees it: the binding, and where its rows lie from there. Rows are counted in the whole problem, so
/// of a window `rows.start` may lie before the binding: shaders add modulo 2³².
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub binding: Binding,
    pub rows: Strides,
}

/// Where a tensor lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    slot: Slot,
    /// Bits of an element.
    bits: u64,
    /// Of the rows that are there, in elements.
    layout: Layout,
    /// The first batch, head and row that are there, and how many are.
    first: [u32; 3],
    sizes: [u32; 3],
    /// Elements of a row.
    dim: u32,
    /// Bytes of the buffer up to the tensor's end.
    bytes: u64,
    /// Along which of these axes all is looked at, whatever rows a step takes.
    all: [bool; 3],
}

/// Bytes: the largest word that a shader loads, so that a window's last word is whole.
const WORD: u64 = 32;

/// Bytes of a buffer of the call's at the least.
pub(super) const LEAST_SCRATCH: u64 = 16;

impl Rows {
    /// All of so many.
    pub fn all([batches, heads, rows]: [u32; 3]) -> Self {
        Self {
            batches: 0..batches,
            heads: 0..heads,
            rows: 0..rows,
        }
    }

    /// Those of a step, of all batches and heads.
    pub fn of(params: &Params) -> Self {
        Self {
            rows: params.range.q_begin..params.range.q_end,
            ..Self::all([params.sizes.batch, params.sizes.q_heads, 0])
        }
    }

    /// Batches, heads and rows.
    pub fn sizes(&self) -> [u32; 3] {
        [&self.batches, &self.heads, &self.rows].map(|x| x.end.saturating_sub(x.start))
    }

    pub fn count(&self) -> u64 {
        product(self.sizes().map(u64::from))
    }

    /// The parameters of a kernel that counts its batches and heads from the first of these rows on.
    pub fn renumber(&self, params: &Params) -> Params {
        let (b, h) = (self.batches.start, self.heads.start);
        let [batches, heads, _] = self.sizes();
        params.with(|p| {
            (p.sizes.batch, p.sizes.q_heads) = (batches, heads);
            (p.range.q_begin, p.range.q_end) = (self.rows.start, self.rows.end);
            p.intervals.offsets_at += b;
            p.intervals.lens_at += b;
            // Not looked at where positions are not given.
            p.rotation.q_at = p.rotation.q_at.wrapping_add(b.wrapping_mul(p.sizes.q_len));
            // NOTHING stays what it is.
            p.sinks.at = p.sinks.at.saturating_add(h);
        })
    }

    /// The strides of a tensor for such a kernel.
    pub fn renumber_strides(&self, mut strides: Strides) -> Strides {
        let skipped = [
            (self.batches.start, strides.batch),
            (self.heads.start, strides.head),
        ];
        for (n, stride) in skipped {
            strides.start = strides.start.wrapping_add(n.wrapping_mul(stride));
        }
        strides
    }
}

impl View {
    /// A tensor of these sizes whose buffer has `bytes` up to its end.
    pub fn new(
        slot: Slot,
        bits: u64,
        layout: Layout,
        (sizes, dim): ([u32; 3], u32),
        bytes: u64,
    ) -> Self {
        Self {
            slot,
            bits,
            layout,
            first: [0; 3],
            sizes,
            dim,
            bytes,
            all: [false; 3],
        }
    }

    /// These rows, contiguous from byte `at` of a buffer on.
    pub fn contiguous(slot: Slot, element: u64, at: u64, rows: &Rows, dim: u32) -> Self {
        let sizes = rows.sizes();
        let layout = Layout::heads_first(sizes[1], sizes[2], dim).at(at / element);
        let bytes = contiguous_bytes(rows, dim, element).max(LEAST_SCRATCH);
        let bytes = at.saturating_add(bytes);
        Self {
            first: [rows.batches.start, rows.heads.start, rows.rows.start],
            ..Self::new(slot, 8 * element, layout, (sizes, dim), bytes)
        }
    }

    /// The rows of a cache: only the device knows where those of a sequence lie in a pool, and all of a ring may be looked at.
    pub fn at(self, address: Address) -> Self {
        let all = match address {
            Address::Strided => [false; 3],
            Address::Paged => [true, false, true],
            Address::Ring => [false, false, true],
            // Sequences lie one after the other in rows of one batch.
            Address::RaggedQueries | Address::RaggedKeys => [true, false, true],
        };
        Self { all, ..self }
    }

    /// A tensor whose rows are found by what only the device knows.
    pub fn with_all_rows(self) -> Self {
        let [batches, heads, _] = self.all;
        Self {
            all: [batches, heads, true],
            ..self
        }
    }

    /// Batches, heads and rows that are there, and the numbers of the first.
    pub fn there(&self) -> ([u32; 3], [u32; 3]) {
        (self.sizes, self.first)
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The same buffer as so many batches, heads and rows of this layout.
    pub fn laid_out(self, layout: Layout, sizes: [u32; 3]) -> Self {
        Self {
            layout,
            sizes,
            first: [0; 3],
            ..self
        }
    }

    pub fn with_slot(self, slot: Slot) -> Self {
        Self { slot, ..self }
    }

    /// Bytes of the buffer up to its end.
    pub fn end(&self) -> u64 {
        self.bytes
    }

    /// Bytes that bind all of it.
    pub fn bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.begin())
    }

    /// Bytes of so many elements.
    fn bytes_of(&self, elements: u64) -> u64 {
        elements.saturating_mul(self.bits).div_ceil(8)
    }

    /// Where all of it is bound from.
    fn begin(&self) -> u64 {
        // Where nothing lies may be anywhere.
        let start = match self.bytes {
            0 => 0,
            _ => self.bytes_of(self.layout.offset),
        };
        start - start % OFFSET_ALIGNMENT
    }

    /// All of it in one binding.
    pub fn whole(&self) -> Bound {
        self.bound(self.begin(), self.bytes())
    }

    /// What of it holds the channels `0..dim` of these rows: all, where a binding of `limit` bytes does.
    pub fn rows(&self, limit: u64, rows: &Rows) -> Bound {
        self.window(limit, rows, 0..self.dim)
    }

    /// The same of some of the channels.
    pub fn window(&self, limit: u64, rows: &Rows, channels: Range<u32>) -> Bound {
        if self.bytes() <= limit {
            return self.whole();
        }
        let [b, h, i] = self.within(rows);
        let last = |x: &Range<u32>| x.end.max(x.start + 1) - 1;
        let start = self.layout.index(b.start, h.start, i.start) + u64::from(channels.start);
        let end = self.layout.index(last(&b), last(&h), last(&i)) + u64::from(channels.end);
        let start = self.bytes_of(start);
        let offset = start - start % OFFSET_ALIGNMENT;
        let size = (self.bytes_of(end) - offset).next_multiple_of(WORD);
        self.bound(offset, size.min(self.bytes - offset))
    }

    /// `rows` by their numbers in this tensor, where a broadcast axis may have one only.
    fn within(&self, rows: &Rows) -> [Range<u32>; 3] {
        let of = |n: usize, range: &Range<u32>| {
            if self.all[n] {
                return 0..self.sizes[n];
            }
            let at = |x: u32| x.saturating_sub(self.first[n]).min(self.sizes[n]);
            at(range.start).min(self.sizes[n].saturating_sub(1))..at(range.end)
        };
        [of(0, &rows.batches), of(1, &rows.heads), of(2, &rows.rows)]
    }

    fn bound(&self, offset: u64, size: u64) -> Bound {
        let mut rows = Strides::of(&self.layout);
        let before = [
            (self.first[0], rows.batch),
            (self.first[1], rows.head),
            (self.first[2], rows.row),
        ];
        // Modulo 2³².
        rows.start = match self.bytes {
            0 => 0,
            _ => rows.start.wrapping_sub((offset * 8 / self.bits) as u32),
        };
        for (n, stride) in before {
            rows.start = rows.start.wrapping_sub(n.wrapping_mul(stride));
        }
        let slot = self.slot;
        let binding = Binding { slot, offset, size };
        Bound { binding, rows }
    }

    /// Bytes that bind so many batches, heads, rows and channels at the most, wherever they lie; none where a binding of
    /// `limit` bytes holds all.
    pub fn span(&self, limit: u64, sizes: [u32; 3], channels: u32) -> u64 {
        if self.bytes() <= limit {
            return 0;
        }
        let strides = self.strides();
        let size = |n: usize| match self.all[n] {
            true => self.sizes[n],
            false => sizes[n].min(self.sizes[n]),
        };
        let steps = (0..3).map(|n| u64::from(size(n).max(1) - 1) * strides[n]);
        let elements = steps.sum::<u64>() + u64::from(channels.min(self.dim));
        let slack = OFFSET_ALIGNMENT - self.alignment(channels < self.dim);
        (self.bytes_of(elements) + slack)
            .next_multiple_of(WORD)
            .min(self.bytes())
    }

    /// Bytes of which every window starts at a multiple: of the alignment of bindings, at best. Some are `narrow`: they start at
    /// any channel.
    fn alignment(&self, narrow: bool) -> u64 {
        let strides = self.strides().into_iter();
        let starts = strides.chain([self.layout.offset, u64::from(narrow)]);
        let bits = starts.fold(OFFSET_ALIGNMENT, |bits, start| bits | self.bytes_of(start));
        1 << bits.trailing_zeros()
    }

    /// Elements from one batch, head and row to the next; 0 along an axis of one.
    fn strides(&self) -> [u64; 3] {
        let Layout {
            batch, head, row, ..
        } = self.layout;
        let of = |n: usize, stride| if self.sizes[n] > 1 { stride } else { 0 };
        [of(0, batch), of(1, head), of(2, row)]
    }

    /// Elements along an axis from one part to the next; 0 where parts are no smaller.
    pub fn divisible(&self) -> [u64; 3] {
        let strides = self.strides();
        [0, 1, 2].map(|n| if self.all[n] { 0 } else { strides[n] })
    }

    /// Rows per head, where only all of them can be bound: those of a ragged batch.
    pub fn ragged_rows(&self) -> Option<u32> {
        (self.all == [true, false, true]).then_some(self.sizes[2])
    }

    pub fn dim(&self) -> u32 {
        self.dim
    }
}

/// Bytes of rows without gaps.
pub(super) fn contiguous_bytes(rows: &Rows, dim: u32, element: u64) -> u64 {
    product([rows.count(), dim.into(), element])
}

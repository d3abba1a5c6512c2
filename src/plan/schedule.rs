//! The host's twin of `shaders/mask/interval.wgsl` and `shaders/schedule/interval.wgsl`: what a tile of rows visits.
//! Where lengths or offsets live on the device, the defaults stand in for them.

use std::ops::Range;

use crate::problem::{Problem, Slice};

/// What one query sees: two intervals of keys, both within the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    pub window: Range<i64>,
    pub first: Range<i64>,
}

impl Interval {
    /// Visible keys of a row.
    pub fn pairs(&self) -> u64 {
        let window = length(&self.window);
        let first = length(&self.first);
        let overlap =
            length(&(self.window.start.max(self.first.start)..self.window.end.min(self.first.end)));
        window + first - overlap
    }
}

fn length(range: &Range<i64>) -> u64 {
    (range.end - range.start).max(0) as u64
}

/// The interval masks of a problem.
pub struct Schedule<'a> {
    problem: &'a Problem,
    slice: Slice,
}

impl<'a> Schedule<'a> {
    pub fn new(problem: &'a Problem) -> Self {
        Self {
            problem,
            slice: problem.slice(),
        }
    }

    /// What query `i` of batch `b` sees.
    pub fn visible(&self, b: u32, i: u32) -> Interval {
        let (shape, mask) = (&self.problem.shape, &self.problem.mask);
        let bottom_right = i64::from(shape.kv_len) - i64::from(shape.q_len);
        let diagonal = mask.offset(shape, b).unwrap_or(bottom_right) + i64::from(i);
        let len = mask.len(shape, b).unwrap_or(shape.kv_len);
        let begin = i64::from(self.slice.k.start);
        let mut end = i64::from(len.min(self.slice.k.end));
        if mask.causal {
            end = end.min((diagonal + 1).max(i64::from(mask.prefix)));
        }
        let Some(window) = mask.window else {
            return Interval {
                window: begin..end,
                first: begin..begin,
            };
        };
        let left = window.left.map_or(begin, |n| diagonal - i64::from(n));
        let right = window.right.map_or(end, |n| diagonal + i64::from(n) + 1);
        Interval {
            window: left.max(begin)..right.min(end),
            first: begin..end.min(i64::from(mask.first)),
        }
    }

    /// Key tiles that rows `i0 ..= i1` of batch `b` visit.
    pub fn visited(&self, b: u32, i0: u32, i1: u32, tile: u32) -> u64 {
        let (low, high) = (self.visible(b, i0), self.visible(b, i1));
        let tile = i64::from(tile);
        let up = |end: i64| (end + tile - 1).div_euclid(tile);
        let head_start = high.first.start / tile;
        let head_end = if high.first.is_empty() {
            head_start
        } else {
            up(high.first.end)
        };
        let mut start = low.window.start.div_euclid(tile);
        if head_end > head_start {
            start = start.max(head_end);
        }
        let end = if high.window.end > low.window.start {
            up(high.window.end)
        } else {
            start
        };
        (head_end - head_start + (end - start).max(0)) as u64
    }

    /// The queries of the slice that see key `j` of batch `b`.
    pub fn seen_by(&self, b: u32, j: u32) -> Range<i64> {
        let (shape, mask) = (&self.problem.shape, &self.problem.mask);
        let bottom_right = i64::from(shape.kv_len) - i64::from(shape.q_len);
        let d = i64::from(j) - mask.offset(shape, b).unwrap_or(bottom_right);
        let len = mask.len(shape, b).unwrap_or(shape.kv_len);
        let (mut begin, mut end) = (i64::from(self.slice.q.start), i64::from(self.slice.q.end));
        if j >= len.min(self.slice.k.end) || j < self.slice.k.start {
            return begin..begin;
        }
        if mask.causal && j >= mask.prefix {
            begin = begin.max(d);
        }
        if let Some(window) = mask.window.filter(|_| j >= mask.first) {
            begin = window.right.map_or(begin, |n| begin.max(d - i64::from(n)));
            end = window.left.map_or(end, |n| end.min(d + i64::from(n) + 1));
        }
        begin..end.max(begin)
    }

    /// Query tiles that keys `j0 ..= j1` of batch `b` are seen by.
    pub fn seen_by_tiles(&self, b: u32, j0: u32, j1: u32, tile: u32) -> u64 {
        let len = self.problem.mask.len(&self.problem.shape, b);
        let last = len.unwrap_or(j1 + 1).min(self.slice.k.end);
        if j0 >= last {
            return 0;
        }
        let (low, high) = (self.seen_by(b, j0), self.seen_by(b, j1.min(last - 1)));
        let (begin, end) = (low.start, low.end.max(high.end));
        let tile = i64::from(tile);
        if end > begin {
            ((end + tile - 1) / tile - begin / tile) as u64
        } else {
            0
        }
    }

    /// Visible pairs of rows `i0 ..= i1` of batch `b`.
    pub fn pairs(&self, b: u32, i0: u32, i1: u32) -> u64 {
        (i0..=i1).map(|i| self.visible(b, i).pairs()).sum()
    }
}

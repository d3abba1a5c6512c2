//! The host's twin of `shaders/mask/interval.wgsl` and `shaders/schedule/*.wgsl`: what a tile of rows visits.
//! Where lengths, offsets or documents live on the device, the defaults stand in for them.

use std::ops::Range;

use crate::problem::{Block, BlockMask, Prefix, Problem, Slice};

/// What one query sees: two intervals of keys, both within the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interval {
    /// Keys by causal, window and lengths.
    pub window: Range<i64>,
    /// Keys before `first`, which the window does not hide.
    pub first: Range<i64>,
}

impl Interval {
    /// Keys of a row.
    pub fn pairs(&self) -> u64 {
        let window = length(&self.window);
        let first = length(&self.first);
        let overlap =
            length(&(self.window.start.max(self.first.start)..self.window.end.min(self.first.end)));
        window + first - overlap
    }
}

impl Interval {
    fn contains(&self, j: i64) -> bool {
        self.window.contains(&j) || self.first.contains(&j)
    }

    /// What of it lies in `keys`.
    fn within(&self, keys: &Range<i64>) -> Self {
        let cut = |x: &Range<i64>| x.start.max(keys.start)..x.end.min(keys.end);
        Self {
            window: cut(&self.window),
            first: cut(&self.first),
        }
    }
}

fn length(range: &Range<i64>) -> u64 {
    (range.end - range.start).max(0) as u64
}

/// The interval masks and the block lists of a problem.
pub struct Schedule<'a> {
    problem: &'a Problem,
    slice: Slice,
    /// For each query `[B, Nq]` the keys of its document, where they are an interval.
    segments: Option<Vec<[u32; 2]>>,
    blocks: Option<&'a BlockMask>,
    /// Keys that a list chosen on the device holds at the most.
    most_listed: Option<u64>,
    /// Visible pairs of each row of each bit tile.
    counts: Vec<Vec<u32>>,
}

impl<'a> Schedule<'a> {
    /// The tiles that a problem's queries visit.
    pub fn new(problem: &'a Problem) -> Self {
        let segments = problem.mask.segments.as_ref();
        let blocks = problem.mask.host_blocks();
        let counts = |tile: &[u128]| tile.iter().map(|row| row.count_ones()).collect();
        let tiles = blocks.map_or(&[][..], |mask| mask.tiles());
        Self {
            problem,
            slice: problem.slice(),
            segments: segments.and_then(|s| s.keys_of_queries([problem.queries(), problem.keys()])),
            blocks,
            most_listed: problem.mask.selected_blocks().map(|select| {
                let lists = select.lists(&problem.shape, &problem.mask);
                u64::from(lists.capacity) * u64::from(select.side)
            }),
            counts: tiles.iter().map(|tile| counts(tile)).collect(),
        }
    }

    /// Heads whose tiles differ: 1 where all visit the same.
    pub fn heads(&self) -> u32 {
        self.blocks.map_or(1, |mask| mask.grid().heads)
    }

    /// Keys of a batch that are exempt from causal; all where only the device knows, so that a cost is the most it may be.
    fn prefix(&self, b: u32) -> i64 {
        let keys = self.problem.mask.prefix_of(b);
        keys.unwrap_or(self.problem.shape.kv_len).into()
    }

    /// What query `i` of batch `b` sees, block lists aside.
    pub fn visible(&self, b: u32, i: u32) -> Interval {
        let (shape, mask) = (&self.problem.shape, &self.problem.mask);
        let bottom_right = i64::from(shape.kv_len) - i64::from(shape.q_len);
        let diagonal = mask.offset(shape, b).unwrap_or(bottom_right) + i64::from(i);
        let len = mask.len(shape, b).unwrap_or(shape.kv_len);
        let mut begin = i64::from(self.slice.k.start);
        let mut end = i64::from(len.min(self.slice.k.end));
        if mask.ends_at_own() {
            end = end.min((diagonal + 1).max(self.prefix(b)));
        }
        if let Some(segments) = &self.segments {
            // Intervals are made where the host knows where tokens stand.
            let at = self.problem.queries().span(b).map_or(0, |span| span.start) + i as usize;
            let [first, last] = segments[at];
            (begin, end) = (begin.max(first.into()), end.min(last.into()));
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

    /// Key tiles that rows `i0 ..= i1` of head `h` in batch `b`, of one block where there are any, visit.
    pub fn visited(&self, b: u32, h: u32, i0: u32, i1: u32, tile: u32) -> u64 {
        let ranges = self.tiles(b, i0, i1, tile);
        let Some(mask) = self.blocks else {
            let tiles: u64 = ranges.iter().map(length).sum();
            return tiles.min(self.longest_list(tile).unwrap_or(u64::MAX));
        };
        let side = mask.grid().side;
        let list = mask.list(b, h, i0 / side);
        let before = |t: i64| listed_before(list, t, i64::from(side / tile));
        ranges
            .map(|range| before(range.end.max(range.start)) - before(range.start))
            .iter()
            .sum()
    }

    /// The tiles of `first` and of the window, lists aside; they share none.
    fn tiles(&self, b: u32, i0: u32, i1: u32, tile: u32) -> [Range<i64>; 2] {
        let (low, high) = (self.visible(b, i0), self.visible(b, i1));
        let tile = i64::from(tile);
        let up = |end: i64| (end + tile - 1).div_euclid(tile);
        let head_start = low.first.start / tile;
        let has_head = high.first.end > low.first.start;
        let head_end = if has_head {
            up(high.first.end)
        } else {
            head_start
        };
        let mut start = low.window.start.div_euclid(tile);
        if has_head {
            start = start.max(head_end);
        }
        let has_window = high.window.end > low.window.start;
        let end = if has_window {
            up(high.window.end)
        } else {
            start
        };
        [head_start..head_end, start..end]
    }

    /// Of a pass over keys.
    pub fn transposed(self) -> Transposed<'a> {
        let segments = self.problem.mask.segments.as_ref();
        Transposed {
            segments: segments
                .and_then(|s| s.queries_of_keys([self.problem.queries(), self.problem.keys()])),
            blocks: self.blocks.map(BlockMask::transpose),
            by_query: self,
        }
    }

    /// The most key tiles that a list of blocks has, where the host knows.
    pub fn longest_list(&self, tile: u32) -> Option<u64> {
        if let Some(keys) = self.most_listed {
            return Some(keys / u64::from(tile));
        }
        let mask = self.blocks?;
        Some(u64::from(mask.longest_list()) * u64::from(mask.grid().side / tile))
    }

    /// The most key tiles that `rows` queries in a row see through a window that is closed on both sides, wherever they stand:
    /// lengths and offsets may live on the device.
    pub fn most_windowed(&self, rows: u32, tile: u32) -> Option<u64> {
        let mask = &self.problem.mask;
        let window = mask.window?;
        let ends_at_own = mask.ends_at_own() && mask.prefix == Prefix::default();
        let right = window.right.or(ends_at_own.then_some(0))?;
        let keys = u64::from(window.left?) + u64::from(right) + u64::from(rows);
        // A run of keys begins and ends within a tile, and so does `first`.
        let tiles = |keys: u64| keys.div_ceil(tile.into()) + 1;
        Some(tiles(keys) + tiles(mask.first.into()))
    }

    /// Visible pairs of rows `i0 ..= i1` of head `h` in batch `b`; pairs of different documents are counted where
    /// these are no intervals.
    pub fn pairs(&self, b: u32, h: u32, i0: u32, i1: u32) -> u64 {
        let Some(mask) = self.blocks else {
            let most = self.most_listed.unwrap_or(u64::MAX);
            let of_row = |i| self.visible(b, i).pairs().min(most);
            return (i0..=i1).map(of_row).sum();
        };
        let side = mask.grid().side;
        let blocks = i0 / side..=i1 / side;
        blocks
            .map(|n| {
                let (first, last) = (i0.max(n * side), i1.min(n * side + side - 1));
                self.listed_pairs(mask, mask.list(b, h, n), b, first, last)
            })
            .sum()
    }

    /// Of rows `i0 ..= i1`, all of one list.
    fn listed_pairs(&self, mask: &BlockMask, list: &[Block], b: u32, i0: u32, i1: u32) -> u64 {
        let side = mask.grid().side;
        let rows: Vec<Interval> = (i0..=i1).map(|i| self.visible(b, i)).collect();
        let (low, high) = (&rows[0], &rows[rows.len() - 1]);
        let of_block = |block: &Block| -> u64 {
            let start = i64::from(block.index * side);
            let end = (start + i64::from(side)).min(self.problem.shape.kv_len.into());
            if start >= high.window.start && end <= low.window.end {
                // The intervals hide nothing.
                return match block.tile {
                    None => rows.len() as u64 * (end - start) as u64,
                    Some(tile) => {
                        let counts = &self.counts[tile as usize];
                        (i0..=i1)
                            .map(|i| u64::from(counts[(i % side) as usize]))
                            .sum()
                    }
                };
            }
            let of_row = |(i, row): (u32, &Interval)| match block.tile {
                None => row.within(&(start..end)).pairs(),
                Some(tile) => {
                    let bits = mask.tile(tile)[(i % side) as usize];
                    let visible = |j: i64| row.contains(j) && bits >> (j - start) & 1 == 1;
                    (start..end).filter(|&j| visible(j)).count() as u64
                }
            };
            (i0..).zip(&rows).map(of_row).sum()
        };
        list.iter().map(of_block).sum()
    }
}

/// Tiles of a list before tile `t`, with `per_block` in each block.
fn listed_before(list: &[Block], t: i64, per_block: i64) -> u64 {
    let (block, within) = (t.div_euclid(per_block), t.rem_euclid(per_block));
    let n = list.partition_point(|listed| i64::from(listed.index) < block);
    let listed = list
        .get(n)
        .is_some_and(|listed| i64::from(listed.index) == block);
    n as u64 * per_block as u64 + if listed { within as u64 } else { 0 }
}

/// What a pass over keys visits.
pub struct Transposed<'a> {
    by_query: Schedule<'a>,
    /// For each key `[B, Nk]` the queries of its document.
    segments: Option<Vec<[u32; 2]>>,
    blocks: Option<BlockMask>,
}

impl Transposed<'_> {
    /// Query heads whose tiles differ: 1 where all visit the same.
    pub fn heads(&self) -> u32 {
        self.by_query.heads()
    }

    /// The queries of the slice that see key `j` of batch `b`; none where the range ends before it begins.
    fn visible_to(&self, b: u32, j: u32) -> Range<i64> {
        let (shape, mask) = (&self.by_query.problem.shape, &self.by_query.problem.mask);
        let slice = &self.by_query.slice;
        let bottom_right = i64::from(shape.kv_len) - i64::from(shape.q_len);
        let d = i64::from(j) - mask.offset(shape, b).unwrap_or(bottom_right);
        let len = mask.len(shape, b).unwrap_or(shape.kv_len);
        let queries = self.by_query.problem.queries().of(b);
        let (mut begin, mut end) = (
            i64::from(slice.q.start),
            i64::from(slice.q.end.min(queries)),
        );
        if j >= len.min(slice.k.end) || j < slice.k.start {
            return begin..begin;
        }
        if mask.ends_at_own() && i64::from(j) >= self.by_query.prefix(b) {
            begin = begin.max(d);
        }
        if let Some(window) = mask.window.filter(|_| j >= mask.first) {
            begin = window.right.map_or(begin, |n| begin.max(d - i64::from(n)));
            end = window.left.map_or(end, |n| end.min(d + i64::from(n) + 1));
        }
        if let Some(segments) = &self.segments {
            let keys = self.by_query.problem.keys();
            let at = keys.span(b).map_or(0, |span| span.start) + j as usize;
            let [first, last] = segments[at];
            (begin, end) = (begin.max(first.into()), end.min(last.into()));
        }
        begin..end
    }

    /// Query tiles that keys `j0 ..= j1` of batch `b` are visible to, as queries of head `h`.
    pub fn tiles_visible_to(&self, b: u32, h: u32, j0: u32, j1: u32, tile: u32) -> u64 {
        let len = self
            .by_query
            .problem
            .mask
            .len(&self.by_query.problem.shape, b);
        let last = len.unwrap_or(j1 + 1).min(self.by_query.slice.k.end);
        if j0 >= last {
            return 0;
        }
        let (low, high) = (self.visible_to(b, j0), self.visible_to(b, j1.min(last - 1)));
        let (begin, end) = (low.start, low.end.max(high.end));
        if end <= begin {
            return 0;
        }
        let t = i64::from(tile);
        let range = begin / t..(end + t - 1) / t;
        match &self.blocks {
            None => length(&range),
            Some(mask) => {
                let side = mask.grid().side;
                let list = mask.list(b, h, j0 / side);
                let before = |n: i64| listed_before(list, n, i64::from(side / tile));
                before(range.end) - before(range.start)
            }
        }
    }

    /// Visible pairs of keys `j0 ..= j1`, of one block where there are any.
    pub fn pairs_visible_to(&self, b: u32, h: u32, j0: u32, j1: u32) -> u64 {
        let keys = (j0..=j1).map(|j| (j, self.visible_to(b, j)));
        let Some(mask) = &self.blocks else {
            return keys.map(|(_, visible)| length(&visible)).sum();
        };
        let side = mask.grid().side;
        let list = mask.list(b, h, j0 / side);
        let of_block = |block: &Block, j: u32, visible: &Range<i64>| -> u64 {
            let start = i64::from(block.index * side);
            let range = visible.start.max(start)..visible.end.min(start + i64::from(side));
            let Some(tile) = block.tile else {
                return length(&range);
            };
            let bits = mask.tile(tile)[(j % side) as usize];
            range.filter(|&i| bits >> (i - start) & 1 == 1).count() as u64
        };
        keys.map(|(j, visible)| -> u64 {
            list.iter().map(|block| of_block(block, j, &visible)).sum()
        })
        .sum()
    }
}

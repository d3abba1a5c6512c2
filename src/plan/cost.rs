//! What steps cost, and may cost.

use crate::caps::AdapterClass;

use super::budget::Budget;
use super::dispatch::TileCounts;
use super::pace::flops_in;

/// What a step costs. Numbers of tiles and bytes are exact where the host knows lengths and offsets, else at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Key tiles that are visited, over all heads and query tiles.
    pub visited: u64,
    /// Key tiles that are there.
    pub of: u64,
    /// 2·(D + Dv) a visible pair and head; 1 fma is 2.
    pub flops: u64,
    /// Bytes that are read, as often as they are.
    pub read_bytes: u64,
    /// Bytes that are written.
    pub written_bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        // Rows that are broadcast may stand for more work than can be told.
        for (sum, more) in [
            (&mut self.visited, other.visited),
            (&mut self.of, other.of),
            (&mut self.flops, other.flops),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.written_bytes, other.written_bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The cost of a tile, the same for every head unless these have lists of their own: computed once per batch, differing
/// head and tile.
pub(super) struct PerHead<'a, F> {
    tiles: &'a TileCounts,
    heads: u32,
    compute: F,
    known: Option<(u32, u32)>,
    costs: Vec<Cost>,
}

impl<'a, F: Fn(u32, u32, u32) -> Cost> PerHead<'a, F> {
    pub fn new(tiles: &'a TileCounts, heads: u32, compute: F) -> Self {
        Self {
            tiles,
            heads,
            compute,
            known: None,
            costs: Vec::new(),
        }
    }

    pub fn of(&mut self, b: u32, h: u32, tile: u32) -> Cost {
        let h = h.min(self.heads - 1);
        if self.known != Some((b, h)) {
            self.known = Some((b, h));
            let tiles = 0..self.tiles.of(b);
            self.costs = tiles.map(|tile| (self.compute)(b, h, tile)).collect();
        }
        self.costs[tile as usize]
    }
}

/// FLOPs of a step at the most: what a device of this class is taken to do in the time of a submit.
pub(super) fn step_flops(class: AdapterClass) -> u64 {
    flops_in(class, Budget::SUBMIT.seconds())
}

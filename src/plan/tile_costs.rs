//! What tiles of rows cost, head by head.

use super::Cost;
use super::dispatch::TileCounts;

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

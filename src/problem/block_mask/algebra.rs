//! Sets of pairs: and, or, not, transpose, and masks of several heads side by side. All on bits.

use std::borrow::Cow;

use crate::error::{Error, Result};

use super::build::{Builder, Pairs};
use super::{BitTile, Block, BlockGrid, BlockMask};

impl BlockMask {
    /// The pairs that both masks show. Axes of size 1 are broadcast.
    ///
    /// # Errors
    /// When the grids differ in more than a broadcast axis; so for [`Self::or`].
    pub fn and(&self, other: &Self) -> Result<Self> {
        self.combine(other, |a, b| a & b)
    }

    /// The pairs that either mask shows.
    pub fn or(&self, other: &Self) -> Result<Self> {
        self.combine(other, |a, b| a | b)
    }

    /// The pairs that this mask hides.
    pub fn not(&self) -> Self {
        self.map(|pairs| match pairs {
            Pairs::None => Pairs::All,
            Pairs::All => Pairs::None,
            Pairs::Bits(bits) => Pairs::Bits(bits.iter().map(|row| !row).collect()),
        })
    }

    /// For each block of keys the blocks of queries that see it: what a pass over keys visits. Queries and keys change
    /// places, in the bits too.
    pub fn transpose(&self) -> Self {
        let grid = BlockGrid {
            q_len: self.grid.kv_len,
            kv_len: self.grid.q_len,
            ..self.grid
        };
        let tiles: Vec<BitTile> = self.tiles.iter().map(|tile| transposed(tile)).collect();
        let mut mask = Self {
            grid,
            starts: vec![0],
            blocks: Vec::with_capacity(self.blocks.len()),
            tiles: Vec::new(),
        };
        let mut known = vec![None; tiles.len()];
        for (b, h) in grid.masks() {
            let mut columns = vec![Vec::new(); grid.q_blocks() as usize];
            for i in 0..self.grid.q_blocks() {
                for block in self.list(b, h, i) {
                    let tile = block.tile;
                    columns[block.index as usize].push(Block { index: i, tile });
                }
            }
            for block in columns
                .iter_mut()
                .flat_map(|column| column.iter_mut().filter_map(|block| block.tile.as_mut()))
            {
                // In the order of first use, so that equal masks are equal.
                let n = *block as usize;
                *block = *known[n].get_or_insert_with(|| {
                    mask.tiles.push(tiles[n].clone());
                    mask.tiles.len() as u32 - 1
                });
            }
            for column in columns {
                mask.blocks.extend(column);
                mask.starts.push(mask.blocks.len() as u32);
            }
        }
        mask
    }

    /// Masks of one head each, side by side: head h shows what `masks[h]` does.
    ///
    /// # Errors
    /// When there is none, one has several heads, or their grids differ.
    pub fn from_heads(masks: &[Self]) -> Result<Self> {
        let Some(first) = masks.first() else {
            return Err(Error::size("the masks of heads", 0u32, "at least 1"));
        };
        if let Some(mask) = masks.iter().find(|mask| mask.grid.heads != 1) {
            let heads = mask.grid.heads;
            return Err(Error::size("heads of a head's mask", heads, "1"));
        }
        let batch = masks.iter().map(|mask| mask.grid.batch).max().unwrap_or(1);
        let heads = u32::try_from(masks.len()).unwrap_or(u32::MAX);
        let grid = BlockGrid {
            heads,
            batch,
            ..first.grid
        };
        for mask in masks {
            mask.grid.joined(&grid)?;
        }
        Self::from_pairs(grid, |b, h, i, j| masks[h as usize].pairs_at(b, 0, i, j))
    }

    /// The pairs of one block.
    fn pairs_at(&self, b: u32, h: u32, i: u32, j: u32) -> Pairs {
        let list = self.list(b, h, i);
        match list.binary_search_by_key(&j, |block| block.index) {
            Err(_) => Pairs::None,
            Ok(n) => self.pairs_of(&list[n]),
        }
    }

    fn pairs_of(&self, block: &Block) -> Pairs {
        block
            .tile
            .map_or(Pairs::All, |tile| Pairs::Bits(self.tile(tile).clone()))
    }

    fn map(&self, change: impl Fn(Pairs) -> Pairs) -> Self {
        // The grid is legal, for this mask was built on it.
        Self::from_pairs(self.grid, |b, h, i, j| change(self.pairs_at(b, h, i, j)))
            .unwrap_or_else(|_| self.clone())
    }

    fn combine(&self, other: &Self, op: impl Fn(u128, u128) -> u128) -> Result<Self> {
        let grid = self.grid.joined(&other.grid)?;
        let (none, all) = (
            vec![0; grid.side as usize],
            vec![u128::MAX; grid.side as usize],
        );
        let mut builder = Builder::new(grid)?;
        for (b, h) in grid.masks() {
            for i in 0..grid.q_blocks() {
                for j in 0..grid.kv_blocks() {
                    let (x, y) = (self.pairs_at(b, h, i, j), other.pairs_at(b, h, i, j));
                    let pairs = match (&x, &y) {
                        (Pairs::Bits(_), _) | (_, Pairs::Bits(_)) => {
                            let (x, y) = (bits(&x, &none, &all), bits(&y, &none, &all));
                            Pairs::Bits(x.iter().zip(y.iter()).map(|(&x, &y)| op(x, y)).collect())
                        }
                        _ => match op(word(&x), word(&y)) {
                            0 => Pairs::None,
                            _ => Pairs::All,
                        },
                    };
                    builder.push(i, j, pairs);
                }
                builder.end_list()?;
            }
        }
        Ok(builder.finish())
    }
}

impl BlockGrid {
    /// The grid of two masks together: axes of size 1 take the other's.
    fn joined(&self, other: &Self) -> Result<Self> {
        for (what, a, b) in [
            ("the block side", other.side, self.side),
            ("q_len of a mask", other.q_len, self.q_len),
            ("kv_len of a mask", other.kv_len, self.kv_len),
        ] {
            if a != b {
                return Err(Error::size(what, a, format!("the other mask's {b}")));
            }
        }
        let axis = |what, a: u32, b: u32| match (a, b) {
            (1, n) | (n, 1) => Ok(n),
            (a, b) if a == b => Ok(a),
            (a, b) => Err(Error::size(what, b, format!("1 or the other mask's {a}"))),
        };
        Ok(Self {
            batch: axis("batch of a mask", self.batch, other.batch)?,
            heads: axis("heads of a mask", self.heads, other.heads)?,
            ..*self
        })
    }
}

fn bits<'a>(pairs: &'a Pairs, none: &'a [u128], all: &'a [u128]) -> Cow<'a, [u128]> {
    match pairs {
        Pairs::None => none.into(),
        Pairs::All => all.into(),
        Pairs::Bits(bits) => bits.as_ref().into(),
    }
}

/// All bits of a block without tile.
fn word(pairs: &Pairs) -> u128 {
    match pairs {
        Pairs::None => 0,
        _ => u128::MAX,
    }
}

fn transposed(tile: &[u128]) -> BitTile {
    let column = |c: usize| {
        tile.iter()
            .enumerate()
            .fold(0u128, |bits, (r, row)| bits | (row >> c & 1) << r)
    };
    (0..tile.len()).map(column).collect()
}

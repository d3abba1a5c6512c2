//! Which pairs are visible, by blocks: for each block of queries a sorted list of the blocks of keys that it sees,
//! each *full* (every pair is visible) or *partial* (a bit per pair). FlexAttention's `BlockMask` (2412.05496), with
//! bits where that has a function.

mod algebra;
mod build;
mod lists;
mod patterns;

pub use lists::DeviceBlocks;
pub use patterns::Pattern;

use std::fmt;

use crate::error::{Error, Result};

use super::{MAX_LEN, Shape, tokens};

/// Smallest block side; every side is a multiple of it.
pub const MIN_BLOCK: u32 = 16;
/// Largest block side.
pub const MAX_BLOCK: u32 = 128;

/// Lists of a mask, by queries or by keys: two words each in a plan, of which it holds a GiB.
const MOST_LISTS: u64 = 1 << 27;

/// How a matrix of pairs is cut into blocks. The last block of either axis may be ragged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BlockGrid {
    /// The side of a block: a multiple of 16 from 16 to 128, for queries and keys alike.
    pub side: u32,
    /// B, or 1 where all batches share one mask.
    pub batch: u32,
    /// Hq, or 1 where all heads share one mask.
    pub heads: u32,
    /// Nq
    pub q_len: u32,
    /// Nk
    pub kv_len: u32,
}

setters! {
    BlockGrid {
        with_side(side: u32);
        with_batch(batch: u32);
        with_heads(heads: u32);
        with_q_len(q_len: u32);
        with_kv_len(kv_len: u32);
    }
}

impl BlockGrid {
    /// One mask for all batches and heads.
    pub fn new(side: u32, q_len: u32, kv_len: u32) -> Self {
        Self {
            side,
            batch: 1,
            heads: 1,
            q_len,
            kv_len,
        }
    }

    /// A mask of its own for each batch and query head of `shape`.
    pub fn of(side: u32, shape: &Shape) -> Self {
        Self {
            side,
            batch: shape.batch,
            heads: shape.q_heads,
            q_len: shape.q_len,
            kv_len: shape.kv_len,
        }
    }

    /// ⌈Nq/side⌉
    pub fn q_blocks(&self) -> u32 {
        self.q_len.div_ceil(self.side.max(1))
    }

    /// ⌈Nk/side⌉
    pub fn kv_blocks(&self) -> u32 {
        self.kv_len.div_ceil(self.side.max(1))
    }

    /// Blocks of queries over all batches and heads: the lists that a mask has.
    pub fn lists(&self) -> usize {
        let heads = (self.batch as usize).saturating_mul(self.heads as usize);
        heads.saturating_mul(self.q_blocks() as usize)
    }

    /// Of a mask without broadcast axes.
    fn list_number(&self, b: u32, h: u32, i: u32) -> usize {
        let head = b as usize * self.heads as usize + h as usize;
        head * self.q_blocks() as usize + i as usize
    }

    /// Batches and heads.
    fn masks(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let heads = self.heads;
        (0..self.batch).flat_map(move |b| (0..heads).map(move |h| (b, h)))
    }

    /// Refuses more blocks than the host can ask about, and than it numbers.
    fn validate_blocks(&self) -> Result<()> {
        self.validate()?;
        for (what, value) in [("batch", self.batch), ("heads", self.heads)] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        let heads = tokens(self.batch, self.heads);
        let longest = self.q_blocks().max(self.kv_blocks()).max(1);
        let lists = heads.saturating_mul(longest.into());
        if lists > MOST_LISTS {
            let allowed =
                format!("at most {MOST_LISTS}; choose larger blocks, or one mask for all");
            return Err(Error::size("the number of block lists", lists, allowed));
        }
        let blocks = (self.lists() as u64).saturating_mul(self.kv_blocks().into());
        if blocks > u32::MAX.into() {
            let allowed = format!(
                "at most {}; choose larger blocks, or one mask for all heads",
                u32::MAX
            );
            return Err(Error::size("the number of blocks", blocks, allowed));
        }
        Ok(())
    }

    pub(crate) fn validate(&self) -> Result<()> {
        check_side(self.side)?;
        for (what, value) in [("q_len", self.q_len), ("kv_len", self.kv_len)] {
            if value > MAX_LEN {
                return Err(Error::size(what, value, format!("at most {MAX_LEN}")));
            }
        }
        Ok(())
    }

    /// An error unless the grid cuts `shape`.
    fn validate_for(&self, shape: &Shape) -> Result<()> {
        for (what, actual, expected) in [
            ("q_len of the block mask", self.q_len, shape.q_len),
            ("kv_len of the block mask", self.kv_len, shape.kv_len),
        ] {
            if actual != expected {
                let allowed = format!("the problem's {expected}");
                return Err(Error::size(what, actual, allowed));
            }
        }
        for (what, actual, expected) in [
            ("batch of the block mask", self.batch, shape.batch),
            ("heads of the block mask", self.heads, shape.q_heads),
        ] {
            if actual != 1 && actual != expected {
                let allowed = format!("1 (broadcast) or the problem's {expected}");
                return Err(Error::size(what, actual, allowed));
            }
        }
        Ok(())
    }

    /// Rows and columns of block `(i, j)`: fewer than `side` where the matrix ends.
    fn live(&self, i: u32, j: u32) -> (u32, u32) {
        let live = |len: u32, n: u32| (len - n * self.side).min(self.side);
        (live(self.q_len, i), live(self.kv_len, j))
    }
}

/// An error unless blocks may have this side.
pub(crate) fn check_side(side: u32) -> Result<()> {
    if !side.is_multiple_of(MIN_BLOCK) || !(MIN_BLOCK..=MAX_BLOCK).contains(&side) {
        let allowed = format!("a multiple of {MIN_BLOCK} from {MIN_BLOCK} to {MAX_BLOCK}");
        return Err(Error::size("the block side", side, allowed));
    }
    Ok(())
}

/// A listed block of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number J: keys `J·side …`.
    pub index: u32,
    /// Which of [`BlockMask::tile`] holds its bits; `None` is a full block.
    pub tile: Option<u32>,
}

/// The bits of a partial block: row by row, bit c for column c. Bits beyond the matrix are 0.
pub type BitTile = Box<[u128]>;

/// Lists of visible blocks for each batch, head and block of queries.
///
/// Two masks are equal when they show the same pairs through the same grid.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockMask {
    grid: BlockGrid,
    /// Where each list starts in `blocks`, and where the last one ends.
    starts: Vec<u32>,
    blocks: Vec<Block>,
    /// Each distinct tile once, in the order of their first use: patterns along the diagonal repeat a handful.
    tiles: Vec<BitTile>,
}

impl BlockMask {
    /// How blocks are numbered.
    pub fn grid(&self) -> &BlockGrid {
        &self.grid
    }

    /// The blocks that queries `I·side …` of head `h` in batch `b` see, ascending. Axes of size 1 are broadcast.
    pub fn list(&self, b: u32, h: u32, i: u32) -> &[Block] {
        let n = self.list_number(b, h, i);
        &self.blocks[self.starts[n] as usize..self.starts[n + 1] as usize]
    }

    fn list_number(&self, b: u32, h: u32, i: u32) -> usize {
        let grid = &self.grid;
        let (b, h) = (b.min(grid.batch - 1), h.min(grid.heads - 1));
        grid.list_number(b, h, i)
    }

    /// Where each list starts among all [`Self::blocks`], and where the last one ends.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// All lists, one after the other.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The bits of partial blocks.
    pub fn tile(&self, n: u32) -> &BitTile {
        &self.tiles[n as usize]
    }

    /// The bits of all partial blocks.
    pub fn tiles(&self) -> &[BitTile] {
        &self.tiles
    }

    /// Whether query `i` sees key `j`.
    pub fn sees(&self, b: u32, h: u32, i: u32, j: u32) -> bool {
        let side = self.grid.side;
        let list = self.list(b, h, i / side);
        list.binary_search_by_key(&(j / side), |block| block.index)
            .is_ok_and(|n| {
                list[n]
                    .tile
                    .is_none_or(|tile| self.tile(tile)[(i % side) as usize] >> (j % side) & 1 == 1)
            })
    }

    /// Visible pairs of one batch's and head's, over all that are stored.
    pub fn pairs(&self) -> u64 {
        let counts: Vec<u64> = self.tiles.iter().map(|tile| count(tile)).collect();
        let q_blocks = self.grid.q_blocks();
        let rows = self.grid.masks().flat_map(|_| 0..q_blocks);
        rows.enumerate()
            .map(|(n, i)| {
                let list = &self.blocks[self.starts[n] as usize..self.starts[n + 1] as usize];
                list.iter()
                    .map(|block| match block.tile {
                        Some(tile) => counts[tile as usize],
                        None => {
                            let (rows, columns) = self.grid.live(i, block.index);
                            u64::from(rows * columns)
                        }
                    })
                    .sum::<u64>()
            })
            .sum()
    }

    /// The share of all pairs that are visible, 0 of an empty matrix.
    pub fn density(&self) -> f64 {
        let heads = f64::from(self.grid.batch) * f64::from(self.grid.heads);
        let all = heads * f64::from(self.grid.q_len) * f64::from(self.grid.kv_len);
        if all > 0.0 {
            self.pairs() as f64 / all
        } else {
            0.0
        }
    }

    /// The most blocks that a list has.
    pub fn longest_list(&self) -> u32 {
        let lengths = self.starts.windows(2).map(|w| w[1] - w[0]);
        lengths.max().unwrap_or(0)
    }

    /// Holds the grid against the problem whose mask it is to be.
    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        self.grid.validate_for(shape)
    }
}

/// Visible pairs of a tile.
fn count(tile: &[u128]) -> u64 {
    tile.iter().map(|row| u64::from(row.count_ones())).sum()
}

/// The lowest `n` bits.
fn low_bits(n: u32) -> u128 {
    u128::MAX.checked_shr(128 - n).unwrap_or(0)
}

impl fmt::Display for BlockMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grid = &self.grid;
        let all = grid.lists() as u64 * u64::from(grid.kv_blocks());
        let full = self.blocks.iter().filter(|b| b.tile.is_none()).count();
        write!(
            f,
            "{} x {} pairs in blocks of {}: density {:.2} %, {} of {all} blocks visible, {full} of them full, \
             {} distinct partial ones",
            grid.q_len,
            grid.kv_len,
            grid.side,
            100.0 * self.density(),
            self.blocks.len(),
            self.tiles.len(),
        )
    }
}

impl fmt::Debug for BlockMask {
    /// What a plan or a problem is printed with: the lists themselves may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMask({self})")
    }
}

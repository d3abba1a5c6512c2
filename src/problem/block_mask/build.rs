//! Block masks from predicates, dense matrices, lists and patterns.

use std::collections::HashMap;

use crate::error::{Error, Result};

use super::patterns::{Cover, Placed};
use super::{BitTile, Block, BlockGrid, BlockMask, Pattern, low_bits, tokens};

/// Listed blocks of a mask: a word each in a plan, of which it holds a GiB.
const MOST_LISTED: usize = 1 << 28;

/// The pairs of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pairs {
    None,
    All,
    Bits(BitTile),
}

/// Lists in the making; blocks come in rising order.
pub(super) struct Builder {
    mask: BlockMask,
    /// Number of each tile in the pool.
    known: HashMap<BitTile, u32>,
}

impl Builder {
    pub fn new(grid: BlockGrid) -> Result<Self> {
        grid.validate_blocks()?;
        Ok(Self {
            mask: BlockMask {
                grid,
                starts: vec![0],
                blocks: Vec::new(),
                tiles: Vec::new(),
            },
            known: HashMap::new(),
        })
    }

    /// Adds block `index` of query block `i` to the list in the making.
    pub fn push(&mut self, i: u32, index: u32, pairs: Pairs) {
        let tile = match self.canonical(i, index, pairs) {
            Pairs::None => return,
            Pairs::All => None,
            Pairs::Bits(bits) => Some(self.tile_number(bits)),
        };
        self.mask.blocks.push(Block { index, tile });
    }

    /// Bits that say all or nothing are said so; those beyond the matrix are cleared.
    fn canonical(&self, i: u32, index: u32, pairs: Pairs) -> Pairs {
        let Pairs::Bits(mut bits) = pairs else {
            return pairs;
        };
        let (rows, columns) = self.mask.grid.live(i, index);
        let live = low_bits(columns);
        for (n, row) in bits.iter_mut().enumerate() {
            *row &= if n < rows as usize { live } else { 0 };
        }
        if bits.iter().all(|&row| row == 0) {
            Pairs::None
        } else if bits.iter().take(rows as usize).all(|&row| row == live) {
            Pairs::All
        } else {
            Pairs::Bits(bits)
        }
    }

    fn tile_number(&mut self, bits: BitTile) -> u32 {
        let tiles = &mut self.mask.tiles;
        *self.known.entry(bits).or_insert_with_key(|bits| {
            tiles.push(bits.clone());
            tiles.len() as u32 - 1
        })
    }

    pub fn end_list(&mut self) -> Result<()> {
        let listed = self.mask.blocks.len();
        if listed > MOST_LISTED {
            let allowed = format!("at most {MOST_LISTED}; choose larger blocks or a sparser mask");
            return Err(Error::size(
                "the number of listed blocks",
                listed as u64,
                allowed,
            ));
        }
        self.mask.starts.push(listed as u32);
        Ok(())
    }

    pub fn finish(self) -> BlockMask {
        self.mask
    }
}

impl BlockMask {
    /// A mask told block by block.
    pub(super) fn from_pairs(
        grid: BlockGrid,
        mut pairs: impl FnMut(u32, u32, u32, u32) -> Pairs,
    ) -> Result<Self> {
        let mut builder = Builder::new(grid)?;
        for (b, h) in grid.masks() {
            for i in 0..grid.q_blocks() {
                for j in 0..grid.kv_blocks() {
                    builder.push(i, j, pairs(b, h, i, j));
                }
                builder.end_list()?;
            }
        }
        Ok(builder.finish())
    }

    /// The pairs `(b, h, i, j)` for which `visible` holds. Asks about every pair of the grid.
    pub fn from_fn(grid: BlockGrid, visible: impl Fn(u32, u32, u32, u32) -> bool) -> Result<Self> {
        Self::from_pairs(grid, |b, h, i, j| {
            Pairs::Bits(bits(&grid, i, j, |i, j| visible(b, h, i, j)))
        })
    }

    /// A dense matrix `[batch, heads, Nq, Nk]` of the grid's sizes.
    ///
    /// # Errors
    /// When it has another number of values.
    pub fn from_dense(grid: BlockGrid, visible: &[bool]) -> Result<Self> {
        grid.validate_blocks()?;
        let (q, k) = (grid.q_len as usize, grid.kv_len as usize);
        let rows = tokens(grid.batch, grid.heads).saturating_mul(grid.q_len.into());
        let pairs = rows.saturating_mul(grid.kv_len.into());
        Error::check_values("the dense mask", visible.len(), pairs)?;
        Self::from_fn(grid, |b, h, i, j| {
            let head = b as usize * grid.heads as usize + h as usize;
            visible[(head * q + i as usize) * k + j as usize]
        })
    }

    /// A tensor `[batch, heads, ⌈Nq/side⌉, ⌈Nk/side⌉]`: a block is visible as a whole where it is not 0.
    ///
    /// # Errors
    /// When it has another number of values.
    pub fn from_blocks(grid: BlockGrid, blocks: &[u8]) -> Result<Self> {
        grid.validate_blocks()?;
        let columns = grid.kv_blocks() as usize;
        let expected = grid.lists() as u64 * columns as u64;
        Error::check_values("blocks", blocks.len(), expected)?;
        Self::from_pairs(grid, |b, h, i, j| {
            let row = grid.list_number(b, h, i);
            match blocks[row * columns + j as usize] {
                0 => Pairs::None,
                _ => Pairs::All,
            }
        })
    }

    /// For each batch, head and block of queries (the last runs fastest) the blocks of keys that it sees as a whole,
    /// in any order.
    ///
    /// # Errors
    /// When there are more or fewer lists than the grid has, or a list names a block twice or outside of the matrix.
    pub fn from_lists(grid: BlockGrid, lists: &[Vec<u32>]) -> Result<Self> {
        let mut builder = Builder::new(grid)?;
        Error::check_values("the lists of blocks", lists.len(), grid.lists() as u64)?;
        let q_blocks = grid.q_blocks() as usize;
        for (list, blocks) in lists.iter().enumerate() {
            let mut sorted = blocks.clone();
            sorted.sort_unstable();
            for (n, &block) in sorted.iter().enumerate() {
                if block >= grid.kv_blocks() || (n > 0 && sorted[n - 1] == block) {
                    let blocks = grid.kv_blocks();
                    return Err(Error::Block {
                        list,
                        block,
                        blocks,
                    });
                }
                builder.push((list % q_blocks) as u32, block, Pairs::All);
            }
            builder.end_list()?;
        }
        Ok(builder.finish())
    }

    /// One pattern for all batches and heads of `grid`, which are to be 1 or repeat it.
    pub fn from_pattern(grid: BlockGrid, pattern: &Pattern) -> Result<Self> {
        Self::from_patterns(grid, std::slice::from_ref(pattern))
    }

    /// A pattern for each head of `grid`, or one for all.
    ///
    /// # Errors
    /// When there are neither one nor as many patterns as heads, or a pattern does not fit the grid.
    pub fn from_patterns(grid: BlockGrid, patterns: &[Pattern]) -> Result<Self> {
        grid.validate_blocks()?;
        if patterns.len() != 1 {
            Error::check_values("the patterns of heads", patterns.len(), grid.heads.into())?;
        }
        let placed = patterns
            .iter()
            .map(|pattern| Placed::new(pattern, &grid))
            .collect::<Result<Vec<_>>>()?;
        Self::from_pairs(grid, |_, h, i, j| {
            let pattern = &placed[h as usize % placed.len()];
            match pattern.cover(i, j) {
                Cover::None => Pairs::None,
                Cover::All => Pairs::All,
                Cover::Some => Pairs::Bits(bits(&grid, i, j, |i, j| pattern.sees(i, j))),
            }
        })
    }
}

/// Bit (i, j) of block (bi, bj), by asking for each pair that is there.
fn bits(grid: &BlockGrid, bi: u32, bj: u32, visible: impl Fn(u32, u32) -> bool) -> BitTile {
    let (rows, columns) = grid.live(bi, bj);
    let row = |r: u32| {
        let sees = |c: &u32| visible(bi * grid.side + r, bj * grid.side + c);
        (0..columns)
            .filter(sees)
            .fold(0u128, |bits, c| bits | 1 << c)
    };
    (0..grid.side)
        .map(|r| if r < rows { row(r) } else { 0 })
        .collect()
}

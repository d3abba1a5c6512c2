//! Block lists that lie on the device.

use crate::error::{Error, Result};
use crate::problem::Shape;

use super::{Block, BlockGrid, BlockMask};

/// Lists in the operand `block_lists` ([`crate::Role::BlockLists`]), `u32 [batch, heads, ⌈Nq/side⌉, 1 + capacity]`:
/// for each block of queries how many blocks of keys it lists, then these, ascending.
///
/// [`Self::PARTIAL`] on a block asks `mask_mod` of its pairs; without it all of them are visible, as far as the other
/// masks go. A list longer than its capacity is not stored: it stands for every block, each partial. Numbers of blocks
/// are clamped to those there are; a list that does not ascend makes its own rows wrong, and the gradients of keys it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceBlocks {
    /// How blocks are numbered.
    pub grid: BlockGrid,
    /// Blocks that a list has room for.
    pub capacity: u32,
}

setters! {
    DeviceBlocks {
        with_grid(grid: BlockGrid);
        with_capacity(capacity: u32);
    }
}

impl DeviceBlocks {
    /// Lists with room for `capacity` blocks each.
    pub const fn new(grid: BlockGrid, capacity: u32) -> Self {
        Self { grid, capacity }
    }

    /// The bit of a listed block whose pairs `mask_mod` is asked about.
    pub const PARTIAL: u32 = 1 << 31;

    /// Words of the operand.
    pub fn words(&self) -> u64 {
        (self.grid.lists() as u64).saturating_mul(1 + u64::from(self.capacity))
    }

    /// The words of a mask's lists, without bits: a partial block is marked so. Lists past the capacity are cut off
    /// behind their length.
    ///
    /// # Errors
    ///
    /// When the mask is of another grid.
    pub fn encode(&self, mask: &BlockMask) -> Result<Vec<u32>> {
        if *mask.grid() != self.grid {
            return Err(Error::size(
                "the lists of the mask",
                mask.grid().lists() as u64,
                format!("a mask of {:?}", self.grid),
            ));
        }
        self.check_capacity()?;
        let mut words = Vec::with_capacity(self.words() as usize);
        for list in mask.starts().windows(2) {
            let blocks = &mask.blocks()[list[0] as usize..list[1] as usize];
            words.push(blocks.len() as u32);
            let word = |block: &Block| block.index | block.tile.map_or(0, |_| Self::PARTIAL);
            let stored = blocks.iter().take(self.capacity as usize).map(word);
            let unused = (self.capacity as usize).saturating_sub(blocks.len());
            words.extend(stored.chain(std::iter::repeat_n(0, unused)));
        }
        Ok(words)
    }

    /// The blocks of list `n` (batch by batch, head by head, block of queries by block of queries) as `(block,
    /// partial)`, read as the kernels read them.
    pub fn list(&self, words: &[u32], n: usize) -> Vec<(u32, bool)> {
        let blocks = self.grid.kv_blocks();
        let Some(list) = words
            .chunks_exact((self.capacity as usize).saturating_add(1))
            .nth(n)
        else {
            return Vec::new();
        };
        if list[0] > self.capacity {
            return (0..blocks).map(|block| (block, true)).collect();
        }
        let listed = list[1..].iter().take(list[0].min(blocks) as usize);
        let block = |word: &u32| (word & !Self::PARTIAL).min(blocks.saturating_sub(1));
        listed
            .map(|word| (block(word), word & Self::PARTIAL != 0))
            .collect()
    }

    /// The lists as a mask of full blocks.
    ///
    /// # Errors
    /// When a list names a block twice.
    pub fn decode(&self, words: &[u32]) -> Result<BlockMask> {
        let lists = (0..self.grid.lists()).map(|n| self.list(words, n));
        let indices: Vec<Vec<u32>> = lists
            .map(|list| list.into_iter().map(|(block, _)| block).collect())
            .collect();
        BlockMask::from_lists(self.grid, &indices)
    }

    /// One byte per block, `[batch, heads, ⌈Nq/side⌉, ⌈Nk/side⌉]`: 1 where it is listed.
    pub fn matrix(&self, words: &[u32]) -> Vec<u8> {
        let blocks = self.grid.kv_blocks() as usize;
        let mut matrix = vec![0; self.grid.lists().saturating_mul(blocks)];
        for (n, row) in matrix.chunks_exact_mut(blocks.max(1)).enumerate() {
            for (block, _) in self.list(words, n) {
                row[block as usize] = 1;
            }
        }
        matrix
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        self.grid.validate()?;
        self.grid.validate_for(shape)?;
        self.check_capacity()
    }

    fn check_capacity(&self) -> Result<()> {
        if self.capacity > self.grid.kv_blocks() {
            let allowed = format!("at most {}, the blocks there are", self.grid.kv_blocks());
            return Err(Error::size(
                "the capacity of the block lists",
                self.capacity,
                allowed,
            ));
        }
        Ok(())
    }
}

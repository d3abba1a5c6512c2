//! The block lists of a mask_mod, made on the device.

use crate::problem::{BlockGrid, DeviceBlocks, Element, Mods, Offsets, Problem, Shape};

/// The block lists of a `mask_mod`, made on the device (FlexAttention's `create_block_mask`): into the operand
/// `block_lists`, for calls with [`crate::problem::Blocks::Device`] and the same functions.
///
/// A block of which all pairs are visible is listed as full, one of which some are as partial. The attention call
/// combines the lists with its other masks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlockScan {
    /// Batches and heads that masks differ by; 1 is one mask for all.
    pub grid: BlockGrid,
    /// The functions, `mask_mod` among them, and their numbers.
    pub mods: Mods,
    /// What `query_offset` answers.
    pub q_offset: Offsets,
    /// Blocks that a list has room for. A longer list is not stored: calls then take all blocks as partial, which is
    /// right and slow.
    pub capacity: u32,
}

setters! {
    BlockScan {
        with_grid(grid: BlockGrid);
        with_mods(mods: Mods);
        with_q_offset(q_offset: Offsets);
        with_capacity(capacity: u32);
    }
}

impl BlockScan {
    /// Room for every block.
    pub fn new(grid: BlockGrid, mods: Mods) -> Self {
        Self {
            grid,
            mods,
            q_offset: Offsets::default(),
            capacity: grid.kv_blocks(),
        }
    }

    /// The lists that it makes.
    pub fn lists(&self) -> DeviceBlocks {
        DeviceBlocks {
            grid: self.grid,
            capacity: self.capacity,
        }
    }

    /// A problem over the same pairs: its masks are the scan's.
    pub(crate) fn problem(&self) -> Problem {
        let grid = &self.grid;
        let shape = Shape {
            batch: grid.batch,
            q_heads: grid.heads,
            kv_heads: grid.heads,
            q_len: grid.q_len,
            kv_len: grid.kv_len,
            head_dim: 1,
            value_dim: 1,
        };
        let mut problem = Problem::new(shape, Element::F32);
        problem.mask.q_offset = self.q_offset.clone();
        problem.mask.blocks = Some(crate::problem::Blocks::Device(self.lists()));
        problem
    }
}

//! Blocks of keys chosen from the input: each block of queries keeps those that score highest by what stands for them.

use std::ops::Range;

use crate::error::{Error, Result};

use super::block_mask::{BlockGrid, DeviceBlocks, check_side};
use super::{Mask, Offsets, Shape};

/// How a block of keys is compared with q̄, the mean of a block's queries, after rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SelectBy {
    /// ⟨q̄, k̄⟩ with the mean k̄ of the block's live keys.
    Mean,
    /// Σ_c max(q̄_c·min_c, q̄_c·max_c) over the channels' least and largest values, an upper bound of ⟨q̄, k⟩ (Quest,
    /// 2406.10774).
    MinMax,
}

/// The blocks of keys that each block of queries of each query head keeps, of those with a visible pair.
///
/// Block 0, the blocks with a diagonal key and the [`Self::local`] blocks before them are always kept, if visible, and
/// count; where they alone are more than [`Self::count`], all of them stay. Of equal scores the lower block wins, and a
/// NaN wins over any number. Means and extremes are those of all keys below `kv_lens`, hidden from these queries or not;
/// blocks without a visible pair, bias and slopes play no part. A negative scale keeps the blocks that it makes least of.
///
/// A slice keeps what the whole problem keeps. Gradients take the choice as given; for them the lists are transposed, with
/// room for ⌈Nq/side⌉ blocks of queries for each block of keys, which must fit a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Select {
    /// The side of a block, as in [`BlockGrid::side`].
    pub side: u32,
    /// Blocks that are kept, at least 1 and at most those there are.
    pub count: u32,
    /// What blocks are compared by.
    pub by: SelectBy,
    /// Blocks before the diagonal that are always kept.
    pub local: u32,
    /// The call also writes the lists of its queries (of its slice's, where it has one), to the operand `block_lists`
    /// ([`crate::Role::BlockLists`]).
    pub written: bool,
}

setters! {
    Select {
        with_side(side: u32);
        with_count(count: u32);
        with_by(by: SelectBy);
        with_local(local: u32);
        with_written(written: bool);
    }
}

impl Select {
    /// `count` blocks by their means, one local block.
    pub fn new(side: u32, count: u32) -> Self {
        Self {
            side,
            count,
            by: SelectBy::Mean,
            local: 1,
            written: false,
        }
    }

    /// The blocks in which these queries stand.
    pub(crate) fn blocks_of(&self, rows: &Range<u32>) -> Range<u32> {
        rows.start / self.side..rows.end.div_ceil(self.side)
    }

    /// The lists that the choice makes for a problem.
    pub fn lists(&self, shape: &Shape, mask: &Mask) -> DeviceBlocks {
        let grid = BlockGrid::of(self.side, shape);
        let most = self.count.max(self.most_forced(shape, mask));
        DeviceBlocks {
            grid,
            capacity: most.min(grid.kv_blocks()),
        }
    }

    /// Block 0, the local ones, and those of the diagonal: two where it does not run through corners.
    fn most_forced(&self, shape: &Shape, mask: &Mask) -> u32 {
        let is_corner = |offset: i64| offset.rem_euclid(self.side.max(1).into()) == 0;
        let corners = match &mask.q_offset {
            Offsets::Host(offsets) => offsets.iter().all(|&offset| is_corner(offset.into())),
            // The same for every batch, of which there may be billions.
            Offsets::BottomRight => mask.offset(shape, 0).is_some_and(is_corner),
            Offsets::Device => shape.batch == 0,
        };
        let diagonal = if corners { 1 } else { 2 };
        self.local.saturating_add(1 + diagonal)
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        check_side(self.side)?;
        let blocks = BlockGrid::of(self.side, shape).kv_blocks();
        // Without keys there is nothing to choose from.
        if shape.kv_len == 0 {
            return Ok(());
        }
        if !(1..=blocks).contains(&self.count) {
            let allowed = format!("1 to {blocks}, the blocks of {} keys", shape.kv_len);
            return Err(Error::size(
                "the number of blocks to select",
                self.count,
                allowed,
            ));
        }
        Ok(())
    }
}

/// How much of the true attention the chosen blocks hold, for tuning [`Select::count`]: of each row with visible keys
/// `e^(lse − lse_dense)`, the weight that the dense softmax gives to the keys that are kept (sinks count as kept).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coverage {
    /// Over all rows; 1 of none.
    pub mean: f64,
    /// Of the row that lost most.
    pub least: f64,
    /// Rows with visible keys or a sink.
    pub rows: usize,
}

impl Coverage {
    /// From the `lse` of a call that chooses blocks and that of the same call without.
    ///
    /// # Errors
    ///
    /// When they have different numbers of rows.
    pub fn of(lse: &[f32], dense: &[f32]) -> Result<Self> {
        Error::check_values("lse of the dense call", dense.len(), lse.len() as u64)?;
        let live = lse.iter().zip(dense);
        let live = live.filter(|&(_, &dense)| dense != f32::NEG_INFINITY);
        let (mut sum, mut least, mut rows) = (0.0, 1.0_f64, 0);
        for (&lse, &dense) in live {
            let share = (f64::from(lse) - f64::from(dense)).exp();
            sum += share;
            // A NaN stays.
            least = if least.is_nan() || share >= least {
                least
            } else {
                share
            };
            rows += 1;
        }
        Ok(Self {
            mean: if rows > 0 { sum / rows as f64 } else { 1.0 },
            least,
            rows,
        })
    }
}

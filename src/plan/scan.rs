//! Which blocks hold visible pairs, found by asking about each pair: for the lists of a mask_mod, and for a choice of
//! blocks under masks that no interval tells.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::problem::{BlockGrid, DeviceBlocks, Element, Mods, Offsets, Problem, Shape};

use super::draft::Draft;
use super::lists::{list, listing, matrix, matrix_rows};
use super::params::Params;
use super::steps::{cut, push, step_flops};
use super::variant::{ListFrom, ROW_KERNEL_INVOCATIONS, ScanBlocks, Variant};
use super::{Binding, Choice, Cost, Plan, Role, Task, blocks, score};

/// The block lists of a `mask_mod`, made on the device (FlexAttention's `create_block_mask`): into the operand
/// `block_lists`, for calls with [`crate::problem::Blocks::Device`] and the same functions.
///
/// A block of which all pairs are visible is listed as full, one of which some are as partial. The attention call
/// combines the lists with its other masks.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockScan {
    /// Batches and heads that masks differ by; 1 is one mask for all.
    pub grid: BlockGrid,
    pub mods: Mods,
    /// What `query_offset` answers.
    pub q_offset: Offsets,
    /// Blocks that a list has room for. A longer list is not stored: calls then take all blocks as partial, which is
    /// right and slow.
    pub capacity: u32,
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
    fn problem(&self) -> Problem {
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

/// What asking about a pair costs beside the user's function, in FLOPs, at a guess.
const PAIR_FLOPS: u64 = 16;

pub(super) fn plan(scan_of: &BlockScan, caps: &Caps, choice: &Choice) -> Result<Plan> {
    let (grid, lists) = (&scan_of.grid, scan_of.lists());
    for (what, value) in [("batch", grid.batch), ("heads", grid.heads)] {
        if value == 0 {
            return Err(Error::size(what, value, "at least 1"));
        }
    }
    if !scan_of.mods.text.has_mask() {
        return Err(Error::NoMaskMod);
    }
    let problem = scan_of.problem();
    problem.mask.validate(&problem.shape)?;
    let mut draft = Draft::new(caps, choice);
    let mut params = Params::of(&problem);
    draft.push_lengths(&problem, &mut params)?;
    params.mods_at = score::push_mods(&mut draft, &scan_of.mods.data)?;
    blocks::push_device_lists(&mut draft, &lists, &mut params, None)?;
    let key = ScanBlocks {
        intervals: false,
        mask_mod: true,
        segments: false,
    };
    if grid.kv_len > 0 {
        for rows in cut(0..grid.q_blocks(), matrix_rows(&draft, grid)) {
            let params = Params {
                q_tiles: rows.end - rows.start,
                block_begin: rows.start,
                ..listing(&params, &lists)
            };
            let states = scan(&mut draft, key, Some(&scan_of.mods), &params)?;
            list(&mut draft, ListFrom::Scan, &params, Some(states))?;
        }
    }
    let words = lists.words() as u32;
    draft.copy_out(
        Role::BlockLists,
        params.block_rows_at,
        words,
        std::iter::once(0..words),
    );
    Ok(draft.finish(Task::Scan(Box::new(scan_of.clone()))))
}

/// What the blocks of the step's rows hold.
pub(super) fn scan(
    draft: &mut Draft<'_>,
    key: ScanBlocks,
    mods: Option<&Mods>,
    params: &Params,
) -> Result<Binding> {
    let states = matrix(draft, "scratch for scanned blocks", params)?;
    let rows = u64::from(params.batch) * u64::from(params.q_heads) * u64::from(params.q_tiles);
    let (blocks, pairs) = (
        rows * u64::from(params.block_columns),
        u64::from(params.block_side).pow(2),
    );
    // An invocation asks about so many, one after the other.
    let turns = pairs / u64::from(ROW_KERNEL_INVOCATIONS);
    let actual = turns * (1 + mods.map_or(0, Mods::iterations_of_pair)) + 1;
    if let Some(allowed) = draft.caps.iterations.filter(|&cap| actual > cap) {
        return Err(Error::Limit {
            what: "loop iterations of mask_mod over a block's pairs",
            actual,
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "state fewer by Mods::with_iterations, or choose smaller blocks",
        });
    }
    let flops = pairs * (PAIR_FLOPS + mods.map_or(0, Mods::pair_flops));
    let per_step = (step_flops(draft.caps.class) / flops).max(1);
    for begin in (0..blocks).step_by(per_step as usize) {
        let work = begin..blocks.min(begin + per_step);
        let cost = Cost {
            written_bytes: (work.end - work.start) * 4,
            ..Cost::default()
        };
        let bindings = [states, draft.aux_binding()];
        push(
            draft,
            Variant::ScanBlocks(key),
            &bindings,
            params,
            work,
            cost,
        )?;
    }
    Ok(states)
}

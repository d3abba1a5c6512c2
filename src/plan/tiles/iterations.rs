//! What tiles cost an invocation in loop iterations, which some drivers stop at 65 535.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::Strategy;
use crate::problem::{BlockGrid, Mods, Problem, Shape};

use super::TileChoice;

/// Loop iterations in which an invocation loads its rows once. `ITERATION_MARGIN` covers them, unless they are repeated.
pub(in crate::plan) fn row_loads(chosen: &TileChoice, shape: &Shape) -> u64 {
    let channels = if chosen.vec8 { 8 } else { 4 } * chosen.tiling.lanes_per_row;
    u64::from(shape.head_dim.div_ceil(channels) + shape.value_dim.div_ceil(channels) + 2)
}

/// Loop iterations in which an invocation finds its place in a list of blocks, four times per workgroup.
pub(in crate::plan) fn searches(problem: &Problem) -> u64 {
    let steps =
        |grid: BlockGrid| u64::from(grid.kv_blocks().max(grid.q_blocks()).max(1).ilog2() + 2);
    4 * problem.mask.block_grid(&problem.shape).map_or(0, steps)
}

/// Loop iterations of an invocation in one tile: its own, those of the user's functions and, where a tile is staged,
/// those of its loads and steps. A loop counts once more than it turns.
pub(in crate::plan) fn iterations(
    chosen: &TileChoice,
    problem: &Problem,
    caps: &Caps,
) -> Result<u64> {
    let (tiling, shape) = (&chosen.tiling, &problem.shape);
    let channels = if chosen.vec8 { 8 } else { 4 };
    let loads = |dim: u32| (tiling.tile * dim.div_ceil(channels)).div_ceil(tiling.invocations);
    let own = u64::from(match chosen.strategy {
        Strategy::Subgroup { .. } | Strategy::Channels { .. } => 1,
        Strategy::Workgroup => {
            // Steps, and in each the scores of two operands over the lanes of a row.
            let sums = 2 * (tiling.lanes_per_row + 1) * u32::from(tiling.lanes_per_row > 1);
            tiling.tile / tiling.keys * (1 + sums)
                + loads(shape.head_dim)
                + loads(shape.value_dim)
                + 4
        }
    });
    let pairs = u64::from(tiling.tile) * u64::from(tiling.rows);
    let users = problem.mods.as_ref().map_or(0, Mods::iterations_of_pair);
    let actual = own + pairs * users;
    // A part of the keys that begins inside of a tile visits two.
    match caps.iterations.filter(|&cap| 2 * actual > cap) {
        Some(allowed) => Err(Error::Limit {
            what: "loop iterations of the user functions over two tiles",
            actual: 2 * actual,
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "state fewer by Mods::with_iterations, or choose a smaller tile",
        }),
        None => Ok(actual),
    }
}

/// How often a workgroup reads a key: each cluster of a subgroup kernel loads its own.
pub(in crate::plan) fn loads(chosen: &TileChoice) -> u64 {
    match chosen.strategy {
        Strategy::Subgroup { width, .. } | Strategy::Channels { width, .. } => {
            u64::from(chosen.tiling.invocations / width)
        }
        Strategy::Workgroup => 1,
    }
}

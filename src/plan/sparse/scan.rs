//! Which blocks hold visible pairs, found by asking about each pair: for the lists of a mask_mod, and for a choice of
//! blocks under masks that no interval tells.

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{ListFrom, Params, ROW_KERNEL_INVOCATIONS, ScanBlocks};
use crate::plan::attention::{mask, score};
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::{cut, push};
use crate::plan::limits::product;
use crate::plan::pace::step_flops;
use crate::plan::{Binding, Cost, Plan, PlanOptions};
use crate::problem::{Mods, Role};
use crate::task::{BlockScan, Task};

use super::lists::{list, list_rows, listing, matrix, matrix_rows};

/// What asking about a pair costs beside the user's function, in FLOPs, at a guess.
const PAIR_FLOPS: u64 = 16;

pub(in crate::plan) fn plan(
    scan_of: &BlockScan,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan> {
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
    let tokens = [problem.queries(), problem.keys()];
    problem.mask.validate(&problem.shape, tokens)?;
    let mut builder = PlanBuilder::new(caps, options);
    let mut params = Params::of(&problem);
    builder.push_lengths(&problem, &mut params)?;
    params.mods.at = score::push_mods(&mut builder, &scan_of.mods.data)?;
    mask::push_device_lists(&mut builder, &lists, &mut params, None)?;
    let key = ScanBlocks {
        intervals: false,
        mask_mod: true,
        segments: false,
        dense: false,
        tree: false,
    };
    if grid.kv_len > 0 {
        for rows in cut(0..grid.q_blocks(), matrix_rows(&builder, grid)) {
            let params = listing(&params, &lists).with(|p| {
                p.work.tiles = rows.end - rows.start;
                p.choice.first = rows.start;
            });
            let states = scan(&mut builder, key, Some(&scan_of.mods), &params)?;
            list(&mut builder, ListFrom::Scan, &params, Some(states))?;
        }
    }
    let words = lists.words() as u32;
    builder.copy_out(
        Role::BlockLists,
        params.lists.rows_at,
        words,
        std::iter::once(0..words),
    );
    Ok(builder.finish(Task::Scan(Box::new(scan_of.clone()))))
}

/// What the blocks of the step's rows hold.
pub(in crate::plan) fn scan(
    builder: &mut PlanBuilder<'_>,
    key: ScanBlocks,
    mods: Option<&Mods>,
    params: &Params,
) -> Result<Binding> {
    let states = matrix(builder, "scratch for scanned blocks", params)?;
    let (blocks, pairs) = (
        product([list_rows(params), params.lists.columns.into()]),
        u64::from(params.lists.side).pow(2),
    );
    // An invocation asks about so many, one after the other.
    let pairs_asked = pairs / u64::from(ROW_KERNEL_INVOCATIONS);
    let actual = pairs_asked * (1 + mods.map_or(0, Mods::iterations_of_pair)) + 1;
    if let Some(allowed) = builder.caps.iterations.filter(|&cap| actual > cap) {
        return Err(Error::Limit {
            what: "loop iterations of mask_mod over a block's pairs",
            actual,
            limit: "loop iterations of an invocation",
            allowed,
            way_out: "state fewer by Mods::with_iterations, or choose smaller blocks",
        });
    }
    let flops = pairs * (PAIR_FLOPS + mods.map_or(0, Mods::pair_flops));
    let per_step = (step_flops(builder.caps.class) / flops).max(1);
    for begin in (0..blocks).step_by(per_step as usize) {
        let work = begin..blocks.min(begin + per_step);
        let cost = Cost {
            written_bytes: (work.end - work.start) * 4,
            ..Cost::default()
        };
        let bindings = vec![("states", states)];
        push(builder, key, &bindings, params, work, cost)?;
    }
    Ok(states)
}

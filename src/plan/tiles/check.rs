//! Which tilings a strategy can run: those of the table as those that a caller asks for.

use crate::caps::Caps;
use crate::kernel::{Strategy, Tiling};

use super::TileRequest;

/// Columns of a step or a tile: each has a bit of one word in masks and marks.
const MOST_KEYS: u32 = 32;
/// Invocations that add up a row's scores, in four exchanges (`shaders/strategy/lanes.wgsl`), or one after the other
/// (`shared_rows.wgsl`).
const MOST_LANES: u32 = 16;
/// Rows of an invocation. 16 of D = 64 took lavapipe 15 s to compile; the table has 8 at the most.
const MOST_ROWS: u32 = 16;
/// Words of rows that stay with an invocation. The table has 2048 at the most; SwiftShader's compiler took minutes for
/// more than 512.
const MOST_WORDS: u32 = 4096;
/// Scores of a step that an invocation holds, each a line of the text. The table has 128 at the most.
const MOST_SCORES: u32 = 256;
/// Invocations of a workgroup, whatever a device claims: tiles are counted in 32 bits.
const MOST_INVOCATIONS: u32 = 1 << 16;

/// The least lanes that share a row, so that a cluster's columns have a bit each.
pub(super) fn least_lanes(width: u32) -> u32 {
    (width / MOST_KEYS).max(1)
}

/// Refuses a tiling that the strategy cannot run here.
pub(super) fn check(
    strategy: Strategy,
    tiling: &Tiling,
    tile_request: &TileRequest,
    caps: &Caps,
) -> Result<(), String> {
    let most_lanes = match strategy {
        Strategy::Channels { .. } => MOST_KEYS,
        Strategy::Subgroup { .. } | Strategy::Workgroup => MOST_LANES,
    };
    for (what, actual, most) in [
        ("rows per invocation", tiling.rows, MOST_ROWS),
        ("lanes per row", tiling.lanes_per_row, most_lanes),
        ("keys per step", tiling.keys, MOST_KEYS),
        ("keys per tile", tiling.tile, MOST_KEYS),
    ] {
        if !(1..=most).contains(&actual) {
            return Err(format!(
                "{what} of the tiling are {actual}; allowed is 1 to {most}"
            ));
        }
    }
    check_invocations(tiling, caps)?;
    match strategy {
        Strategy::Subgroup { width, .. } => check_cluster(tiling, width)?,
        Strategy::Channels { width, .. } => check_channels(tiling, width)?,
        Strategy::Workgroup => check_steps(tiling)?,
    }
    check_text(tiling, tile_request)?;
    check_memory(strategy, tiling, tile_request, caps)
}

fn check_invocations(tiling: &Tiling, caps: &Caps) -> Result<(), String> {
    let most = caps
        .invocations_per_workgroup
        .min(caps.workgroup_size_x)
        .min(MOST_INVOCATIONS);
    if !(1..=most).contains(&tiling.invocations) {
        return Err(format!(
            "{tiling} needs {} invocations per workgroup; the device grants 1 to {most} \
             (max_compute_invocations_per_workgroup, max_compute_workgroup_size_x)",
            tiling.invocations
        ));
    }
    Ok(())
}

/// Whole clusters, in which each column has the lanes that share a row.
fn check_cluster(tiling: &Tiling, width: u32) -> Result<(), String> {
    let lanes = tiling.lanes_per_row;
    let fits = lanes.is_power_of_two()
        && lanes <= width
        && tiling.keys == width / lanes
        && tiling.tile == tiling.keys
        && tiling.invocations.is_multiple_of(width);
    if fits {
        return Ok(());
    }
    Err(format!(
        "{tiling} does not fit clusters of {width} lanes; invocations must be a multiple of {width}, lanes per row a \
         power of two, and keys per step and tile {width} / lanes per row"
    ))
}

/// Whole clusters whose lanes share rows and have a column of each step.
fn check_channels(tiling: &Tiling, width: u32) -> Result<(), String> {
    let Tiling {
        lanes_per_row,
        keys,
        tile,
        ..
    } = *tiling;
    if [lanes_per_row, keys, tile] == [width; 3] && tiling.invocations.is_multiple_of(width) {
        return Ok(());
    }
    Err(format!(
        "{tiling} does not fit rows whose channels lie in clusters of {width} lanes; invocations must be a multiple of \
         {width}, and lanes per row, keys per step and keys per tile {width}"
    ))
}

/// Whole rows, and whole steps.
fn check_steps(tiling: &Tiling) -> Result<(), String> {
    let whole_rows = tiling.invocations.is_multiple_of(tiling.lanes_per_row);
    if whole_rows && tiling.tile.is_multiple_of(tiling.keys) {
        return Ok(());
    }
    Err(format!(
        "{tiling}, {} keys per step, is no tile of the workgroup strategy; invocations must be a multiple of lanes per row, \
         and keys per tile a multiple of keys per step",
        tiling.keys
    ))
}

/// Products are written out, so large tiles are long texts.
fn check_text(tiling: &Tiling, tile_request: &TileRequest) -> Result<(), String> {
    let words = tiling.rows * tile_request.channels.div_ceil(tiling.lanes_per_row);
    for (what, actual, most) in [
        ("words of rows", words, MOST_WORDS),
        ("scores", tiling.rows * tiling.keys, MOST_SCORES),
    ] {
        if actual > most {
            return Err(format!(
                "{tiling} gives an invocation {actual} {what}; allowed are {most}, for compilers take minutes beyond; \
                 take fewer rows per invocation"
            ));
        }
    }
    Ok(())
}

fn check_memory(
    strategy: Strategy,
    tiling: &Tiling,
    tile_request: &TileRequest,
    caps: &Caps,
) -> Result<(), String> {
    let staged = match strategy {
        Strategy::Subgroup { .. } | Strategy::Channels { .. } => 0,
        Strategy::Workgroup => tile_request.staged_bytes(tiling),
    };
    let bytes = staged + tile_request.sums * tiling.invocations * 4;
    if bytes > caps.workgroup_memory {
        return Err(format!(
            "{tiling} needs {bytes} bytes of workgroup memory; the device grants {} \
             (max_compute_workgroup_storage_size)",
            caps.workgroup_memory
        ));
    }
    Ok(())
}

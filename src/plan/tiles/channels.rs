//! Tiles of few rows, whose channels lie in lanes.

use crate::caps::{AdapterClass, Caps};
use crate::kernel::{Strategy, Tiling};
use crate::plan::PlanOptions;

use super::{TileRequest, check};

/// Marks of columns are the bits of a word.
const MOST_WIDTH: u32 = 32;
/// Words of q and o of all rows that an invocation holds, and scores of a step: half of a GPU's 255 registers each.
const MOST_WORDS: u32 = 128;
/// Long rows on lavapipe, whose registers are memory. D = 576, Dv = 512, 16 heads of one KV head, 4096 keys: 1 row takes 61 to 96 ms
/// and 3.6 s to compile, 4 rows 30 to 38 ms and 5.9 s; prefill 117 ms.
const WIDE_ROWS: u32 = 4;

/// One cluster of up to 32 lanes per tile, with up to eight rows.
pub(super) fn choose(
    tile_request: TileRequest,
    (width, min, max): (u32, u32, u32),
    options: &PlanOptions,
    caps: &Caps,
) -> Result<(Strategy, Tiling), String> {
    if options.key_loop == Some(true) {
        return Err("lanes that have a part of each channel have no loop over keys".into());
    }
    if let Some(asked) = options.width.filter(|&asked| asked > MOST_WIDTH) {
        return Err(format!(
            "channels lie in clusters of at most {MOST_WIDTH} lanes; {asked} are asked for"
        ));
    }
    let width = width.min(MOST_WIDTH);
    let tiling = options
        .tiling
        .unwrap_or_else(|| tiling(tile_request, width, caps));
    let strategy = Strategy::Channels {
        width,
        fixed: min == max && width == min,
    };
    check::check(strategy, &tiling, &tile_request, caps)?;
    Ok((strategy, tiling))
}

fn tiling(tile_request: TileRequest, width: u32, caps: &Caps) -> Tiling {
    let most = match caps.class {
        AdapterClass::Cpu if tile_request.is_wide() && width >= 8 => WIDE_ROWS,
        _ => (MOST_WORDS * width / tile_request.channels).min(MOST_WORDS / width),
    };
    let needed = tile_request.rows.next_power_of_two();
    Tiling {
        invocations: width,
        lanes_per_row: width,
        rows: (1 << most.max(1).ilog2()).min(needed).min(8),
        keys: width,
        tile: width,
    }
}

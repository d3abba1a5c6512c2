//! The tiles of GPUs, where registers and workgroup memory are what ends first.

use super::MOST_WORDS;
use super::TileRequest;

/// Sizes of the workgroup strategy, of which the first tile is taken that the memory holds.
pub(super) struct WorkgroupTable {
    pub invocations: u32,
    pub lanes_per_row: u32,
    pub rows: u32,
    /// Keys of a step within a tile.
    pub keys: u32,
    pub tiles: &'static [u32],
}

/// Invocations, lanes per row and rows of the subgroup strategy.
///
/// 128 of a thread's 255 registers for what stays: more spills, and rows share what is shuffled. On an H200, lanes and
/// rows (TFLOP/s):
/// forward, D = 64: 2, 2 (17.3); 4, 3 (13.4); 4, 4 (19.8); 4, 6 (11.9); 8, 4 (13.6); 8, 8 (16.2);
/// forward, D = 128: 4, 2 (16.2); 8, 3 (12.6); 8, 4 (17.5); 8, 6 (8.4);
/// both gradients, D = 64: 4, 2 (17.5, compiled in 1.8 s); 8, 3 (15.9); 8, 4 (18.0, in 0.8 s); 8, 6 (17.8);
/// both gradients, D = 128: 8, 1 (11.8); 8, 2 (16.4); 16, 3 (15.1); 16, 4 (14.4).
pub(super) fn subgroup(tile_request: TileRequest, width: u32, max: u32) -> (u32, u32, u32) {
    let channels = tile_request.channels;
    if tile_request.is_wide() {
        // As many lanes as may share a row, be it that each step has one key, and as many rows as they have room for.
        let lanes = width.min(16);
        let rows = (MOST_WORDS * lanes / channels).clamp(1, 4);
        return (max.max(64), lanes, 1 << rows.ilog2());
    }
    let rows = if channels <= 256 { 4 } else { 2 };
    let lanes = (channels * rows).div_ceil(128).next_power_of_two();
    (max.max(64), lanes.min(width / 2), rows)
}

/// Tiles of the workgroup strategy.
///
/// On an H200, forward, keys of tile in steps: D = 64 runs at 19.6 TFLOP/s by 4 of 16 and 19.0 by 2 of 32 (64
/// invocations: 12.1), D = 128 at 14.6 by 2 of 16, 9.7 by 2 of 32 and 3.7 by 4 of 32, whose registers spill. Both
/// gradients, D = 64: 14.9 by 1 of 16, 9.4 by 2 of 16, 8.8 by 4 of 32. Those of D = 128 spill in any tile.
pub(super) fn workgroup(tile_request: TileRequest) -> WorkgroupTable {
    if tile_request.is_wide() {
        return wide(tile_request);
    }
    let (invocations, keys) = match tile_request.gradient {
        true => (64, 1),
        false if tile_request.channels <= 128 => (128, 4),
        false => (128, 2),
    };
    WorkgroupTable {
        invocations,
        lanes_per_row: 1,
        rows: 1,
        keys,
        tiles: &[16, 8, 4],
    }
}

/// Rows of up to 576 channels, by arithmetic: D = 576 and Dv = 512 are 68 words of q and o in each of 16 lanes, 136 of k,
/// v, dk and dv, of a thread's 255 registers. Two of their keys and values take 8.5 of WebGPU's 16 KiB, and what lanes
/// tell each other of two rows 4.
fn wide(tile_request: TileRequest) -> WorkgroupTable {
    let (rows, keys) = if tile_request.gradient {
        (1, 1)
    } else {
        (2, 2)
    };
    WorkgroupTable {
        invocations: 128,
        lanes_per_row: 16,
        rows,
        keys,
        tiles: &[8, 4, 2, 1],
    }
}

//! The tiles of software adapters (lavapipe, SwiftShader), where code size is compile time.

use crate::caps::{AdapterClass, Caps};

use super::MOST_WORDS;
use super::TileRequest;
use super::gpu::WorkgroupTable;

/// Below this work a call takes the variant that compiles fastest. On lavapipe 4 rows per lane compile for 2 s (D = 64),
/// 1 row for 0.5 s, at about half the speed: a call of 0.3 GFLOP lasts 5 to 11 ms either way.
pub(super) const SMALL_WORK: u64 = 300_000_000;

/// Whether loops over keys pay. A software adapter of eight lanes shuffles by a number that it learns in the loop with one
/// instruction of AVX2; one of sixteen goes lane by lane (D = 64: 17 GFLOP/s, unrolled 57), one of four compiles and
/// runs either text alike.
pub(super) fn key_loop_pays(caps: &Caps) -> bool {
    caps.class == AdapterClass::Cpu && caps.lanes == 8
}

/// Invocations, lanes per row and rows of the subgroup strategy.
pub(super) fn subgroup(tile_request: TileRequest, width: u32, key_loop: bool) -> (u32, u32, u32) {
    let channels = tile_request.channels;
    let small = tile_request.flops < SMALL_WORK;
    // SwiftShader, D = 64: 1 row in 1 lane runs at 0.5 GFLOP/s, 2 rows in 2 lanes at 0.9. Its compiler takes 0.6 s
    // for 64 words of a row in a lane, 1.6 s for 128, minutes and gigabytes for 256.
    if width < 8 {
        let lanes = channels.div_ceil(80).next_power_of_two().min(width);
        let rows = if small || channels > 80 * lanes { 1 } else { 2 };
        return (width, lanes, rows);
    }
    if tile_request.gradient {
        let (lanes, rows) = gradient_rows(channels, small, key_loop);
        return (width, lanes, rows);
    }
    // A workgroup is one subgroup. Rows share what is loaded, but beyond 40 KiB of q and o, the nearest cache is
    // full. Rows per lane (GFLOP/s, seconds to compile):
    //
    // |         | 4         | 5         | 6         | 8         |
    // | ---     | ---       | ---       | ---       | ---       |
    // | D = 64  | 64.1, 0.9 | 66.6, 1.1 | 67.0, 1.3 | 70.5, 1.9 |
    // | D = 128 | 63.9, 1.9 | 68.3, 2.4 | 67.5, 2.7 | 62.3, 4.6 |
    match (small, key_loop) {
        (true, _) => (width, if channels > 256 { 2 } else { 1 }, 1),
        (false, true) => (width, 1, (1280 / channels).clamp(1, 8)),
        (false, false) => {
            let rows = (1024 / channels).next_power_of_two().clamp(1, 4);
            (width, 1, rows)
        }
    }
}

/// Lanes that share a row and rows of a lane, for a gradient on lavapipe. Both kernels of D = 64 on two busy cores:
///
/// | lanes, rows | 1, 1 | 1, 2 | 2, 2 | 2, 4 | 4, 2 | 4, 4 | 4, 8 |
/// | ---         | ---  | ---  | ---  | ---  | ---  | ---  | ---  |
/// | compiled in | 6.9  | 15.0 | 4.8  | 10.5 | 2.6  | 4.5  | 12.2 |
/// | GFLOP/s     | 5.0  | 8.6  | 5.0  | 8.2  | 2.8  | 4.9  | 7.5  |
///
/// Key by key out of a loop (eight lanes, AVX-512) 1, 4 run at 70 GFLOP/s, and both kernels compile in 6 s.
fn gradient_rows(channels: u32, small: bool, key_loop: bool) -> (u32, u32) {
    match (channels, small) {
        (..=64, true) => (1, 1),
        (..=128, true) => (2, 2),
        (..=256, true) if key_loop => (2, 2),
        (_, true) => (4, 2),
        (_, false) if key_loop => {
            let lanes = if channels <= 512 { 1 } else { 2 };
            (lanes, (1024 * lanes / channels).clamp(1, 5))
        }
        (..=128, false) => (1, 2),
        (..=512, false) => (2, 4),
        (_, false) => (4, 4),
    }
}

/// Tiles of the workgroup strategy on an adapter of `lanes` lanes.
pub(super) fn workgroup(tile_request: TileRequest, lanes: u32) -> WorkgroupTable {
    if tile_request.is_wide() {
        return wide(tile_request);
    }
    let channels = tile_request.channels;
    let small = tile_request.flops < SMALL_WORK;
    // Rows per invocation on lavapipe, D = 64 and tiles of 16 keys in steps of 2: 8 run at 25 GFLOP/s and compile
    // for 5 s, 16 at 33 for 15 s. Both gradients: 2 at 14 for 5 s, 4 at 22 for 12 s.
    let rows = if small {
        1
    } else if (1..8).contains(&lanes) {
        // SwiftShader's compiler takes 2 s for 256 words of q and o per invocation, 10 s for 512 and minutes beyond.
        if channels <= 128 { 2 } else { 1 }
    } else if tile_request.gradient {
        (1024 / channels).next_power_of_two().clamp(2, 4)
    } else {
        (2048 / channels).next_power_of_two().clamp(2, 8)
    };
    let fixed = lanes >= 8 && !small;
    // Keys a tile: as many as the memory holds, up to the 32 marks of a tile's word. But lavapipe reads a tile of one
    // step, whose places are constants, faster than the steps of a tile (8 rows; GFLOP/s, seconds to compile):
    //
    // | keys of tile in steps of | 16 in 2   | 16 in 4   | 2 in 2    | 4 in 4    | 8 in 8    |
    // | ---                      | ---       | ---       | ---       | ---       | ---       |
    // | D = 64                   | 25.1, 5.3 | 24.4, 5.9 | 27.0, 5.0 | 30.0, 5.8 | 31.1, 7.6 |
    // | D = 128                  | 24.3, 15  | 25.0, 18  | 28.9, 17  | 32.0, 17  | 31.9, 22  |
    let (keys, tiles): (u32, &'static [u32]) = match fixed {
        true if channels <= 128 => (8, &[8, 4]),
        true => (4, &[4]),
        false => (2, &[32, 16, 8, 4]),
    };
    WorkgroupTable {
        invocations: 32,
        lanes_per_row: 1,
        rows,
        keys,
        tiles,
    }
}

/// Rows of up to 576 channels, shared by as many invocations as they take, up to 16. D = 576, Dv = 512, seconds to compile
/// on two busy cores, forward, decode, grad_kv and grad_q: lavapipe 1.4, 0.7, 2.0 and 1.4 (`subgroup`: 2.4, 3.2, 7.2 and
/// 3.6), SwiftShader 1.5, 2.1 and, both gradients, 4.1; four lanes of a subgroup took it more than 20.
fn wide(tile_request: TileRequest) -> WorkgroupTable {
    WorkgroupTable {
        invocations: 32,
        lanes_per_row: tile_request
            .channels
            .div_ceil(MOST_WORDS)
            .next_power_of_two()
            .min(16),
        rows: 1,
        keys: 2,
        tiles: &[8, 4, 2, 1],
    }
}

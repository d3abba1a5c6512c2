//! Which strategy and which tiles: a table by adapter class, with the measurements beside it.

use crate::caps::{AdapterClass, Caps, Subgroups};
use crate::error::{Error, Result};
use crate::kernel::{Strategy, Tiling, workgroup_tile_bytes};
use crate::problem::{BlockGrid, Mods, Problem, Shape};

use super::builder::PlanBuilder;
use super::{Declined, PlanOptions, StrategyKind, tiles_check};

/// The strategy and tiles of a forward kernel and why a faster strategy was passed over.
pub(super) struct TileChoice {
    pub strategy: Strategy,
    pub tiling: Tiling,
    /// Loads 64 bits at a time.
    pub wide: bool,
    /// Scores come key by key out of a loop.
    pub rolled: bool,
    pub declined: Vec<Declined>,
}

impl TileChoice {
    /// Declines loads of 64 bits, which take eight channels at once, where some rows are no whole eights.
    pub fn load_wide_if(&mut self, whole: bool) {
        if self.wide && !whole {
            self.wide = false;
            self.declined.push(not_eights());
        }
    }
}

/// Why loads of 64 bits were passed over that the device has.
pub(super) fn not_eights() -> Declined {
    Declined {
        path: "64-bit loads",
        reason: "they take eight channels at once, and some offset, stride, size or rotary half is no multiple of \
                 8 elements"
            .into(),
    }
}

/// Below this work a call takes the variant that compiles fastest. On lavapipe 4 rows a lane compile for 2 s (D = 64),
/// 1 row for 0.5 s, at about half the speed: a call of 0.3 GFLOP lasts 5 to 11 ms either way.
const SMALL_WORK: u64 = 300_000_000;

/// What a kernel asks of its tiles.
#[derive(Clone, Copy)]
pub(super) struct TileRequest {
    /// Strides of the axis that is tiled.
    pub rows: u32,
    /// Words of a row that stay with an invocation: q and o forward, as much again and more backward.
    pub channels: u32,
    /// 4-vectors of a key and its value, as they are staged.
    pub chunks: u32,
    /// Words of workgroup memory beside the tile, for each invocation.
    pub sums: u32,
    /// A gradient keeps more of a row and multiplies more with it: more code, which is compile time.
    pub gradient: bool,
    pub flops: u64,
}

impl TileRequest {
    pub fn forward(shape: &Shape, flops: u64) -> Self {
        let (d, dv) = (shape.head_dim, shape.value_dim);
        Self {
            rows: shape.q_len,
            channels: (d + dv).next_multiple_of(8),
            chunks: d.div_ceil(4) + dv.div_ceil(4),
            sums: 0,
            gradient: false,
            flops,
        }
    }

    /// True where a call takes tiles that compile fast.
    pub fn is_small(&self, caps: &Caps) -> bool {
        caps.class == AdapterClass::Cpu && self.flops < SMALL_WORK
    }

    /// q, dO and dq of a row, and the keys of a lane.
    pub fn grad_q(shape: &Shape, flops: u64) -> Self {
        Self {
            channels: (2 * shape.head_dim + shape.value_dim).next_multiple_of(8),
            gradient: true,
            ..Self::forward(shape, flops)
        }
    }

    /// k, v, dk and dv of a row, and q and dO of a lane.
    pub fn grad_kv(shape: &Shape, flops: u64) -> Self {
        let forward = Self::forward(shape, flops);
        Self {
            rows: shape.kv_len,
            channels: 2 * forward.channels,
            gradient: true,
            ..forward
        }
    }
}

pub(super) fn choose(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<TileChoice> {
    let mut declined = Vec::new();
    let wide = wide_loads(caps, options, &mut declined)?;
    if options.strategy != Some(StrategyKind::Workgroup) {
        let rolled = options.rolled.unwrap_or(rolls(caps));
        match subgroup(tile_request, caps, options, rolled) {
            Ok((strategy, tiling)) => {
                return Ok(TileChoice {
                    strategy,
                    tiling,
                    wide,
                    rolled,
                    declined,
                });
            }
            Err(reason) if options.asks_for_subgroups() => {
                return Err(Error::Strategy {
                    strategy: "subgroup",
                    reason,
                });
            }
            Err(reason) => declined.push(Declined {
                path: "subgroup",
                reason,
            }),
        }
    } else {
        declined.push(Declined {
            path: "subgroup",
            reason: "the call asks for workgroup".into(),
        });
    }
    match workgroup(tile_request, caps, options) {
        Ok(tiling) => Ok(TileChoice {
            strategy: Strategy::Workgroup,
            tiling,
            wide,
            rolled: false,
            declined,
        }),
        Err(reason) => Err(Error::Strategy {
            strategy: "workgroup",
            reason: match declined.iter().find(|x| x.path == "subgroup") {
                Some(other) if options.tiling.is_some() => {
                    format!("{reason}; and not subgroup: {}", other.reason)
                }
                _ => reason,
            },
        }),
    }
}

/// On lavapipe, whose loads go a lane at a time, they make the forward pass 1.5 times as fast, without subgroups twice.
pub(super) fn wide_loads(
    caps: &Caps,
    options: &PlanOptions,
    declined: &mut Vec<Declined>,
) -> Result<bool> {
    let reason = "the device was requested without Features::SHADER_INT64, \
                  which wgpu_attention::wanted() names where it helps";
    let helps = caps.class == AdapterClass::Cpu && caps.lanes >= 8;
    match options.wide {
        Some(true) if !caps.int64 => Err(Error::Strategy {
            strategy: "64-bit loads",
            reason: reason.into(),
        }),
        Some(wide) => Ok(wide),
        None if helps && !caps.int64 => {
            declined.push(Declined {
                path: "64-bit loads",
                reason: reason.into(),
            });
            Ok(false)
        }
        None => Ok(helps),
    }
}

/// Whether loops over keys pay. A software adapter of eight lanes shuffles by a number that it learns in the loop with one
/// instruction of AVX2; one of sixteen goes lane by lane (D = 64: 17 GFLOP/s, unrolled 57), one of four compiles and
/// runs either text alike.
fn rolls(caps: &Caps) -> bool {
    caps.class == AdapterClass::Cpu && caps.lanes == 8
}

fn subgroup(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
    rolled: bool,
) -> Result<(Strategy, Tiling), String> {
    let Some(Subgroups { min, max }) = caps.subgroups else {
        return Err(if caps.subgroups_offered {
            "the device was requested without Features::SUBGROUP, which its adapter has; \
             add wgpu_attention::wanted() to request_device"
                .into()
        } else {
            "the device has no subgroups".into()
        });
    };
    let width = options.width.unwrap_or(min);
    if !width.is_power_of_two() || !(4..=128).contains(&width) || width > min {
        return Err(format!(
            "a cluster of {width} lanes does not fit subgroups of {min} to {max} lanes; \
             it must be a power of two, at least 4 and at most the smaller"
        ));
    }
    let tiling = options
        .tiling
        .unwrap_or_else(|| subgroup_tiling(tile_request, caps.class, width, max, rolled));
    let strategy = Strategy::Subgroup {
        width,
        fixed: min == max && width == min,
    };
    tiles_check::check(strategy, &tiling, &tile_request, caps)?;
    Ok((strategy, tiling))
}

fn subgroup_tiling(
    tile_request: TileRequest,
    class: AdapterClass,
    width: u32,
    max: u32,
    rolled: bool,
) -> Tiling {
    let channels = tile_request.channels;
    let small = tile_request.flops < SMALL_WORK;
    let (invocations, lanes_per_row, rows) = match class {
        // SwiftShader, D = 64: 1 row in 1 lane runs at 0.5 GFLOP/s, 2 rows in 2 lanes at 0.9. Its compiler takes 0.6 s
        // for 64 words of a row in a lane, 1.6 s for 128, minutes and gigabytes for 256.
        AdapterClass::Cpu if width < 8 => {
            let lanes = channels.div_ceil(80).next_power_of_two().min(width);
            let rows = if small || channels > 80 * lanes { 1 } else { 2 };
            (width, lanes, rows)
        }
        AdapterClass::Cpu if tile_request.gradient => {
            let (lanes, rows) = gradient_rows(channels, small, rolled);
            (width, lanes, rows)
        }
        // A workgroup is one subgroup. Strides share what is loaded, but beyond 40 KiB of q and o, the nearest cache is
        // full. Strides a lane (GFLOP/s, seconds to compile):
        //
        // |         | 4         | 5         | 6         | 8         |
        // | ---     | ---       | ---       | ---       | ---       |
        // | D = 64  | 64.1, 0.9 | 66.6, 1.1 | 67.0, 1.3 | 70.5, 1.9 |
        // | D = 128 | 63.9, 1.9 | 68.3, 2.4 | 67.5, 2.7 | 62.3, 4.6 |
        AdapterClass::Cpu if small => (width, if channels > 256 { 2 } else { 1 }, 1),
        AdapterClass::Cpu if rolled => (width, 1, (1280 / channels).clamp(1, 8)),
        AdapterClass::Cpu => {
            let rows = (1024 / channels).next_power_of_two().clamp(1, 4);
            (width, 1, rows)
        }
        // 128 of a thread's 255 registers for what stays: more spills, and rows share what is shuffled. On an H200, lanes and
        // rows (TFLOP/s):
        // forward, D = 64: 2, 2 (17.3); 4, 3 (13.4); 4, 4 (19.8); 4, 6 (11.9); 8, 4 (13.6); 8, 8 (16.2);
        // forward, D = 128: 4, 2 (16.2); 8, 3 (12.6); 8, 4 (17.5); 8, 6 (8.4);
        // both gradients, D = 64: 4, 2 (17.5, compiled in 1.8 s); 8, 3 (15.9); 8, 4 (18.0, in 0.8 s); 8, 6 (17.8);
        // both gradients, D = 128: 8, 1 (11.8); 8, 2 (16.4); 16, 3 (15.1); 16, 4 (14.4).
        _ => {
            let rows = if channels <= 256 { 4 } else { 2 };
            let lanes = (channels * rows).div_ceil(128).next_power_of_two();
            (max.max(64), lanes.min(width / 2), rows)
        }
    };
    let lanes_per_row = lanes_per_row.max(tiles_check::least_lanes(width));
    let slots = invocations / lanes_per_row;
    let needed = tile_request.rows.div_ceil(slots).next_power_of_two();
    let keys = width / lanes_per_row;
    Tiling {
        invocations,
        lanes_per_row,
        rows: rows.min(needed),
        keys,
        tile: keys,
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
fn gradient_rows(channels: u32, small: bool, rolled: bool) -> (u32, u32) {
    match (channels, small) {
        (..=64, true) => (1, 1),
        (..=128, true) => (2, 2),
        (..=256, true) if rolled => (2, 2),
        (_, true) => (4, 2),
        (_, false) if rolled => {
            let lanes = if channels <= 512 { 1 } else { 2 };
            (lanes, (1024 * lanes / channels).clamp(1, 5))
        }
        (..=128, false) => (1, 2),
        (..=512, false) => (2, 4),
        (_, false) => (4, 4),
    }
}

fn workgroup(
    tile_request: TileRequest,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Tiling, String> {
    let tiling = match options.tiling {
        Some(tiling) => tiling,
        None => workgroup_tiling(tile_request, caps)?,
    };
    tiles_check::check(Strategy::Workgroup, &tiling, &tile_request, caps)?;
    Ok(tiling)
}

fn workgroup_tiling(tile_request: TileRequest, caps: &Caps) -> Result<Tiling, String> {
    let channels = tile_request.channels;
    let small = tile_request.flops < SMALL_WORK;
    let (invocations, rows) = match caps.class {
        // Strides an invocation on lavapipe, D = 64 and tiles of 16 keys in steps of 2: 8 run at 25 GFLOP/s and compile
        // for 5 s, 16 at 33 for 15 s. Both gradients: 2 at 14 for 5 s, 4 at 22 for 12 s.
        AdapterClass::Cpu if small => (32, 1),
        // SwiftShader's compiler takes 2 s for 256 words of q and o an invocation, 10 s for 512 and minutes beyond.
        AdapterClass::Cpu if (1..8).contains(&caps.lanes) => {
            (32, if channels <= 128 { 2 } else { 1 })
        }
        AdapterClass::Cpu if tile_request.gradient => {
            (32, (1024 / channels).next_power_of_two().clamp(2, 4))
        }
        AdapterClass::Cpu => (32, (2048 / channels).next_power_of_two().clamp(2, 8)),
        // On an H200, forward, keys of tile in steps: D = 64 runs at 19.6 TFLOP/s by 4 of 16 and 19.0 by 2 of 32 (64
        // invocations: 12.1), D = 128 at 14.6 by 2 of 16, 9.7 by 2 of 32 and 3.7 by 4 of 32, whose registers spill. Both
        // gradients, D = 64: 14.9 by 1 of 16, 9.4 by 2 of 16, 8.8 by 4 of 32. Those of D = 128 spill in any tile.
        _ if tile_request.gradient => (64, 1),
        _ => (128, 1),
    };
    let fixed = caps.class == AdapterClass::Cpu && caps.lanes >= 8 && !small;
    let keys = match caps.class {
        AdapterClass::Cpu if fixed && channels <= 128 => 8,
        AdapterClass::Cpu if !fixed => 2,
        AdapterClass::Cpu => 4,
        _ if tile_request.gradient => 1,
        _ if channels <= 128 => 4,
        _ => 2,
    };
    let sums = tile_request.sums * invocations * 4;
    // Keys a tile: as many as the memory holds, up to the 32 marks of a tile's word. But lavapipe reads a tile of one
    // step, whose places are constants, faster than the steps of a tile (8 rows; GFLOP/s, seconds to compile):
    //
    // | keys of tile in steps of | 16 in 2   | 16 in 4   | 2 in 2    | 4 in 4    | 8 in 8    |
    // | ---                      | ---       | ---       | ---       | ---       | ---       |
    // | D = 64                   | 25.1, 5.3 | 24.4, 5.9 | 27.0, 5.0 | 30.0, 5.8 | 31.1, 7.6 |
    // | D = 128                  | 24.3, 15  | 25.0, 18  | 28.9, 17  | 32.0, 17  | 31.9, 22  |
    let tiles: &[u32] = match caps.class {
        AdapterClass::Cpu if fixed => &[keys, 4],
        AdapterClass::Cpu => &[32, 16, 8, 4],
        _ => &[16, 8, 4],
    };
    let tile = tiles
        .iter()
        .copied()
        .find(|&tile| {
            workgroup_tile_bytes(tile, tile_request.chunks) + sums <= caps.workgroup_memory
        })
        .ok_or_else(|| {
            format!(
                "a tile of 4 keys needs {} bytes of workgroup memory; the device grants {}",
                workgroup_tile_bytes(4, tile_request.chunks),
                caps.workgroup_memory
            )
        })?;
    let needed = tile_request.rows.div_ceil(invocations).next_power_of_two();
    Ok(Tiling {
        invocations,
        lanes_per_row: 1,
        rows: rows.min(needed),
        keys: keys.min(tile),
        tile,
    })
}

/// Shrinks tiles until each lies in one block, of queries as of keys: a tile's rows then share one list, whatever the
/// adapter. Tiles are powers of two, so they must divide the largest one in the block's side, at least 16.
pub(super) fn fit_block(
    chosen: &mut TileChoice,
    side: u32,
    builder: &mut PlanBuilder<'_>,
) -> Result<()> {
    let most = 1 << side.trailing_zeros();
    let fits = |tiling: &Tiling| {
        side.is_multiple_of(tiling.tile_rows()) && side.is_multiple_of(tiling.tile)
    };
    let was = chosen.tiling;
    if fits(&was) {
        return Ok(());
    }
    if builder.options.tiling.is_some() {
        return Err(Error::Strategy {
            strategy: "the tiling asked for",
            reason: format!("{was} does not divide blocks of {side}"),
        });
    }
    let tiling = &mut chosen.tiling;
    match chosen.strategy {
        Strategy::Subgroup { width, .. } => {
            while width / tiling.lanes_per_row > most {
                tiling.lanes_per_row *= 2;
            }
            tiling.keys = width / tiling.lanes_per_row;
            tiling.tile = tiling.keys;
            tiling.rows = 1 << tiling.rows.ilog2();
            while tiling.tile_rows() > most && tiling.rows > 1 {
                tiling.rows /= 2;
            }
            while tiling.tile_rows() > most && tiling.invocations > width {
                tiling.invocations /= 2;
            }
        }
        Strategy::Workgroup => {
            tiling.tile = tiling.tile.min(most);
            while tiling.tile_rows() > most && tiling.rows > 1 {
                tiling.rows /= 2;
            }
            while tiling.tile_rows() > most {
                tiling.invocations /= 2;
            }
        }
    }
    builder.note(format!(
        "tiles of {was} are made to fit blocks of {side}: {tiling}"
    ));
    Ok(())
}

/// Loop iterations in which an invocation loads its rows once. `ITERATION_MARGIN` covers them, unless they are repeated.
pub(super) fn row_loads(chosen: &TileChoice, shape: &Shape) -> u64 {
    let channels = if chosen.wide { 8 } else { 4 } * chosen.tiling.lanes_per_row;
    u64::from(shape.head_dim.div_ceil(channels) + shape.value_dim.div_ceil(channels) + 2)
}

/// Loop iterations in which an invocation finds its place in a list of blocks, four times for a walk.
pub(super) fn searches(problem: &Problem) -> u64 {
    let steps =
        |grid: BlockGrid| u64::from(grid.kv_blocks().max(grid.q_blocks()).max(1).ilog2() + 2);
    4 * problem.mask.block_grid(&problem.shape).map_or(0, steps)
}

/// Loop iterations of an invocation in one tile: its own, those of the user's functions and, where a tile is staged,
/// those of its loads and steps. A loop counts once more than it turns.
pub(super) fn iterations(chosen: &TileChoice, problem: &Problem, caps: &Caps) -> Result<u64> {
    let (tiling, shape) = (&chosen.tiling, &problem.shape);
    let channels = if chosen.wide { 8 } else { 4 };
    let loads = |dim: u32| (tiling.tile * dim.div_ceil(channels)).div_ceil(tiling.invocations);
    let own = u64::from(match chosen.strategy {
        Strategy::Subgroup { .. } => 1,
        Strategy::Workgroup => {
            tiling.tile / tiling.keys + loads(shape.head_dim) + loads(shape.value_dim) + 4
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
pub(super) fn loads(chosen: &TileChoice) -> u64 {
    match chosen.strategy {
        Strategy::Subgroup { width, .. } => u64::from(chosen.tiling.invocations / width),
        Strategy::Workgroup => 1,
    }
}

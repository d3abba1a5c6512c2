//! Which strategy and which tiles: a table by adapter class, with the measurements beside it.

mod ask;
// Natively only: what measures them needs a clock.
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
mod candidates;
mod channels;
mod check;
mod choose;
mod fit;
mod gpu;
mod iterations;
mod software;

pub(super) use ask::ask;
pub(super) use choose::{no_vec8, vec8_loads};
pub(super) use iterations::{iterations, loads, row_loads, searches};

use crate::caps::{AdapterClass, Caps};
use crate::kernel::{Strategy, Tiling, workgroup_tile_bytes};
use crate::problem::Shape;
use crate::tuning::{Class, KernelFamily, TunedTiles};

use super::Declined;

use choose::choose;
use fit::fit_block;

/// The strategy and tiles of a forward kernel and why a faster strategy was passed over.
pub(super) struct TileChoice {
    pub strategy: Strategy,
    pub tiling: Tiling,
    /// Loads 64 bits at a time.
    pub vec8: bool,
    /// Scores come key by key out of a loop.
    pub key_loop: bool,
    /// Workgroups for which keys are split, where somebody measured them.
    pub busy: Option<u32>,
    /// They were measured, and are not the table's.
    pub is_tuned: bool,
    pub declined: Vec<Declined>,
}

impl TileChoice {
    /// Declines loads of 64 bits, which take eight channels at once, where some rows are not a multiple of vec8.
    pub fn load_vec8_if(&mut self, whole: bool) {
        if self.vec8 && !whole {
            self.vec8 = false;
            self.declined.push(no_vec8());
        }
    }
}

/// 4-vectors of a row of q and of o that one invocation holds by itself: D = Dv = 256.
const MOST_OF_ONE: u32 = 128;

/// Words of a long row that an invocation holds: a thread of a GPU has 255 registers at most.
const MOST_WORDS: u32 = 160;

/// What a kernel asks of its tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TileRequest {
    /// Whose tiles, where a tuning knows them.
    pub kernel: Option<KernelFamily>,
    /// Rows of the axis that is tiled.
    pub rows: u32,
    /// Words of a row that stay with an invocation: q and o forward, as much again and more backward.
    pub channels: u32,
    /// 4-vectors of a key and of its value, as they are staged.
    pub vec4s: [u32; 2],
    /// They are loaded two at a time.
    pub vec8: bool,
    /// Words of workgroup memory beside the tile, for each invocation.
    pub sums: u32,
    /// A gradient keeps more of a row and multiplies more with it: more code, which is compile time.
    pub gradient: bool,
    /// Few rows, which meet many keys.
    pub decode: bool,
    pub flops: u64,
}

/// What was asked for a plan, and the answer: where a measurement begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Asked {
    pub class: Class,
    pub request: TileRequest,
    pub tiles: TunedTiles,
}

impl TileRequest {
    pub fn forward(shape: &Shape, flops: u64) -> Self {
        let (d, dv) = (shape.head_dim, shape.value_dim);
        Self {
            kernel: Some(KernelFamily::Prefill),
            rows: shape.q_len,
            channels: (d + dv).next_multiple_of(8),
            vec4s: [d, dv].map(|dim| dim.div_ceil(4)),
            vec8: false,
            sums: 0,
            gradient: false,
            decode: false,
            flops,
        }
    }

    /// Of `rows` packed rows.
    pub fn decode(shape: &Shape, rows: u32, flops: u64) -> Self {
        Self {
            kernel: Some(KernelFamily::Decode),
            rows,
            decode: true,
            ..Self::forward(shape, flops)
        }
    }

    /// True where a row is longer than one invocation has room for, whatever the device.
    pub fn is_wide(&self) -> bool {
        self.vec4s.iter().sum::<u32>() > MOST_OF_ONE
    }

    /// Workgroup memory of the workgroup strategy's tile.
    pub fn staged_bytes(&self, tiling: &Tiling) -> u32 {
        workgroup_tile_bytes(tiling, self.vec4s, if self.vec8 { 2 } else { 1 })
    }

    /// True where a call takes tiles that compile fast.
    pub fn is_small(&self, caps: &Caps) -> bool {
        caps.class == AdapterClass::Cpu && self.flops < software::SMALL_WORK
    }

    /// q, dO and dq of a row, and the keys of a lane.
    pub fn grad_q(shape: &Shape, flops: u64) -> Self {
        Self {
            kernel: None,
            channels: (2 * shape.head_dim + shape.value_dim).next_multiple_of(8),
            gradient: true,
            ..Self::forward(shape, flops)
        }
    }

    /// k and v of a row, and q and dO of a lane.
    pub fn grad_key_bias(shape: &Shape, flops: u64) -> Self {
        Self {
            kernel: None,
            rows: shape.kv_len,
            gradient: true,
            ..Self::forward(shape, flops)
        }
    }

    /// k, v, dk and dv of a row, and q and dO of a lane.
    pub fn grad_kv(shape: &Shape, flops: u64) -> Self {
        let forward = Self::forward(shape, flops);
        Self {
            kernel: Some(KernelFamily::GradKv),
            rows: shape.kv_len,
            channels: 2 * forward.channels,
            gradient: true,
            ..forward
        }
    }
}

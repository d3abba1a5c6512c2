//! What the kernels that visit KV tiles have in common: sizes and chunks of channels, and what a strategy asks of the text.

use std::fmt;

use crate::problem::MAX_LEN;
use crate::shader::Source;

use super::codec::add_chunks;
use super::{Strategy, Workgroup};

/// Sizes of a kernel's tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tiling {
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Invocations that share one row, each with its part of the channels.
    pub lanes_per_row: u32,
    /// Rows that one invocation holds in registers.
    pub rows: u32,
    /// Keys of one step of the online softmax.
    pub keys: u32,
    /// Keys of a tile: what is staged at once and what a schedule visits.
    pub tile: u32,
}

impl Tiling {
    /// Query rows of a workgroup; none without lanes.
    pub fn tile_rows(&self) -> u32 {
        let slots = self.invocations.checked_div(self.lanes_per_row);
        slots.unwrap_or(0).saturating_mul(self.rows)
    }
}

/// What a kernel that visits tiles is told of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    pub strategy: Strategy,
    pub tiling: Tiling,
    pub chunks: u32,
    pub value_chunks: u32,
    pub vec8: bool,
    pub key_loop: bool,
}

/// Rows of which an invocation sums four channels at once: more are more sums than a processor has registers (AVX-512
/// has 32, AVX2 16). Tiles for GPUs have no more rows.
const MOST_ROWS_OF_FOUR: u32 = 5;

/// Workgroup memory of a tile whose columns are `vec4s` 4-vectors of each operand, loaded `of_chunk` at a time, and of
/// its two words of marks. Where invocations share a row each has as many chunks as the others, and two places for its
/// scores of a step.
pub fn workgroup_tile_bytes(tiling: &Tiling, vec4s: [u32; 2], of_chunk: u32) -> u32 {
    let (lanes, of_step) = (tiling.lanes_per_row, tiling.rows * tiling.keys);
    let column: u32 = vec4s
        .map(|n| n.next_multiple_of(lanes * of_chunk))
        .iter()
        .sum();
    let scores = if lanes > 1 {
        2 * tiling.invocations * of_step * 4
    } else {
        0
    };
    tiling.tile * column * 16 + 16 + scores
}

impl Tiles {
    /// The workgroup, with `sums` bytes beside what the strategy keeps.
    pub(super) fn workgroup(&self, sums: u32) -> Workgroup {
        let staged = match self.strategy {
            Strategy::Subgroup { .. } | Strategy::Channels { .. } => 0,
            Strategy::Workgroup => {
                let of_chunk = if self.vec8 { 2 } else { 1 };
                let of_row = [self.chunks, self.value_chunks];
                workgroup_tile_bytes(&self.tiling, of_row, of_chunk)
            }
        };
        Workgroup {
            invocations: self.tiling.invocations,
            memory: sums + staged,
        }
    }

    /// Constants and conditions of the tiles, and how their rows meet what they visit.
    pub(super) fn compose(&self, source: &mut Source) {
        let (tiling, lanes) = (&self.tiling, self.tiling.lanes_per_row);
        let vec4s = add_chunks(source, self.vec8);
        // Parts of a chunk that are multiplied one after the other: a chunk of workgroup memory is read once, but of what
        // lanes hold a shuffle takes a 4-vector, and products of one at a time need fewer registers.
        let shuffles = self.strategy.shuffles();
        let shares = if shuffles { vec4s } else { 1 };
        let all = [self.chunks, self.value_chunks].map(|of_row| of_row.div_ceil(vec4s));
        let [chunks, value_chunks] = all.map(|chunks| chunks.div_ceil(lanes));
        for (name, value) in [
            ("LANES", lanes),
            ("ROWS", tiling.rows),
            ("ROW_STRIDE", tiling.invocations / lanes),
            ("TILE_ROWS", tiling.tile_rows()),
            ("KEYS", tiling.keys),
            ("OWN_KEYS", self.own_keys()),
            ("TILE", tiling.tile),
            ("GROUPS", tiling.tile / tiling.keys),
            ("HEAD_CHUNKS", chunks),
            ("HEAD_ALL_CHUNKS", all[0]),
            ("VALUE_CHUNKS", value_chunks),
            ("VALUE_ALL_CHUNKS", all[1]),
            ("KEY_PAIRS", tiling.keys / 2),
            ("SHARES", shares),
            ("SHARE_VEC4S", vec4s / shares),
        ] {
            source.constant(name, value);
        }
        source.signed("MAX_OFFSET", MAX_LEN as i32);
        source.flag("head_ragged", !all[0].is_multiple_of(lanes));
        source.flag("value_ragged", !all[1].is_multiple_of(lanes));
        source.flag("looked_up", false);
        source.flag("head_bare", false);
        source.flag("value_bare", false);
        source.flag("shared_rows", lanes > 1);
        source.flag("by_channel", shuffles && tiling.rows > MOST_ROWS_OF_FOUR);
        for (name, least) in [
            ("lanes_2", 2),
            ("lanes_4", 4),
            ("lanes_8", 8),
            ("lanes_16", 16),
            ("lanes_32", 32),
        ] {
            source.flag(name, lanes >= least);
        }
        self.compose_strategy(source, chunks, value_chunks);
    }

    fn compose_strategy(&self, source: &mut Source, chunks: u32, value_chunks: u32) {
        let tiling = &self.tiling;
        source.flag("fixed_source", false);
        match self.strategy {
            Strategy::Subgroup { width, fixed } => {
                let strategy = match self.key_loop {
                    true => "strategy::subgroup_loop",
                    false => "strategy::subgroup",
                };
                source.slot("strategy", vec![strategy]);
                source.constant("WIDTH", width);
                source.flag("fixed_source", fixed && tiling.lanes_per_row == 1);
            }
            Strategy::Channels { width, fixed } => {
                source.slot("strategy", vec!["strategy::subgroup_channels"]);
                source.constant("WIDTH", width);
                source.flag("fixed_source", fixed);
            }
            Strategy::Workgroup => {
                source.slot("strategy", vec!["strategy::workgroup"]);
                let [head, value] =
                    [chunks, value_chunks].map(|of_lane| of_lane * tiling.lanes_per_row);
                source.constant("HEAD_COLUMN_CHUNKS", head);
                source.constant("HEAD_TILE_CHUNKS", tiling.tile * head);
                source.constant("VALUE_COLUMN_CHUNKS", value);
                source.constant("VALUE_TILE_CHUNKS", tiling.tile * value);
                source.constant("SCORE_PARTS", 2 * tiling.invocations);
            }
        }
    }

    /// Columns of a step that an invocation has scores of.
    fn own_keys(&self) -> u32 {
        match self.strategy.owns_keys() {
            true => self.tiling.keys,
            false => 1,
        }
    }

    /// `subgroup 8`, `subgroup 8+` (at least 8 lanes) or `workgroup`.
    pub(super) fn strategy_name(&self) -> String {
        match self.strategy {
            Strategy::Subgroup { width, fixed } => {
                format!("subgroup {width}{}", if fixed { "" } else { "+" })
            }
            Strategy::Channels { width, fixed } => {
                format!("channels {width}{}", if fixed { "" } else { "+" })
            }
            Strategy::Workgroup => "workgroup".into(),
        }
    }

    /// How rows are loaded and scores computed, behind a name.
    pub(super) fn ways(&self) -> String {
        let vec8 = if self.vec8 { " vec8" } else { "" };
        let key_loop = if self.key_loop { " key loop" } else { "" };
        format!("{vec8}{key_loop}")
    }
}

/// Channels of a row of q and of v, at most.
pub(super) struct Dims(pub u32, pub u32);

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D<={} Dv<={}", self.0 * 4, self.1 * 4)
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} x {} ({}, {} per row, {} per invocation)",
            plural(self.tile_rows(), "row"),
            plural(self.tile, "key"),
            plural(self.invocations, "invocation"),
            plural(self.lanes_per_row, "lane"),
            plural(self.rows, "row"),
        )
    }
}

/// `1 row`, `2 rows`
pub(crate) fn plural(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

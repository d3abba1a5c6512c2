//! The compile key: only what changes the code.

mod name;

use crate::problem::position::RotaryLayout;
use crate::problem::{Element, Operand};

/// How a score row and a key meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strategy {
    /// Keys live in the lanes of a cluster of `width` invocations and are broadcast by shuffle. With `fixed` the
    /// device has this one width, so the source lane is a constant.
    Subgroup { width: u32, fixed: bool },
    /// Keys live in workgroup memory; needs no feature.
    Workgroup,
}

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
    /// Query rows of a workgroup.
    pub fn tile_rows(&self) -> u32 {
        self.invocations / self.lanes_per_row * self.rows
    }
}

/// How an input's rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Input {
    pub element: Element,
    /// Every row starts at a multiple of four elements and has a multiple of four channels.
    pub aligned: bool,
}

/// How an output's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Output {
    pub element: Element,
    /// Every row starts at a multiple of four elements and has a multiple of four channels.
    pub aligned: bool,
}

/// The parts of a score that need code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScoreKey {
    pub softcap: bool,
    pub bias: bool,
    /// Its rows are loaded two numbers at a time, as one of 64 bits.
    pub bias_pairs: bool,
    pub alibi: bool,
    pub t5: bool,
    /// Positions are given a token (for the score or for a fused rotation), not told by indices.
    pub q_positions: bool,
    pub k_positions: bool,
    /// Each query has a temperature.
    pub temperature: bool,
    /// The user's functions that take part; their text stands beside the key (`Plan::mods`).
    pub mask_mod: bool,
    pub score_mod: bool,
}

/// The parts of a mask that need code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaskKey {
    /// Walks lists of blocks; else intervals.
    pub list: bool,
    /// Some of the listed blocks are partial and have bits.
    pub bits: bool,
    /// Documents are compared pair by pair.
    pub segments: bool,
    /// The lists lie on the device: each behind its length, with room for as many blocks.
    pub device: bool,
    /// Listed blocks say whether mask_mod is asked; else it is asked everywhere.
    pub marked: bool,
}

/// The key of a forward kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefill {
    pub strategy: Strategy,
    pub tiling: Tiling,
    /// q and k
    pub input: Input,
    /// v
    pub value: Input,
    pub output: Output,
    /// ⌈D/4⌉
    pub chunks: u32,
    /// ⌈Dv/4⌉
    pub value_chunks: u32,
    pub score: ScoreKey,
    pub mask: MaskKey,
    /// Rotates q and k as they are loaded.
    pub rotary: Option<RotaryLayout>,
    /// Loads 64 bits, and eight channels, at a time: an extension of wgpu's that only software adapters gain by.
    pub wide: bool,
    /// Scores of the subgroup strategy come key by key out of a loop: short text, which software adapters compile fast
    /// and need fewer registers for.
    pub rolled: bool,
    /// Writes the number of visited tiles in place of lse: a diagnostic.
    pub count_tiles: bool,
}

/// The key of a gradient kernel. q and k are rotated before, so it rotates nothing, and it writes f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gradient {
    pub strategy: Strategy,
    pub tiling: Tiling,
    /// q and k
    pub input: Input,
    /// v
    pub value: Input,
    /// dO
    pub d_o: Input,
    /// ⌈D/4⌉
    pub chunks: u32,
    /// ⌈Dv/4⌉
    pub value_chunks: u32,
    pub score: ScoreKey,
    pub mask: MaskKey,
    /// Loads 64 bits, and eight channels, at a time.
    pub wide: bool,
    /// Scores come key by key out of a loop.
    pub rolled: bool,
    /// Writes the number of visited tiles in place of dq or of a key tile's first dk: a diagnostic.
    pub count_tiles: bool,
}

/// The key of the step that makes (lse, Δ) of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delta {
    pub o: Input,
    pub d_o: Input,
    /// A gradient by lse joins.
    pub dlse: bool,
}

/// The key of a kernel that moves f32 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pack {
    pub output: Element,
    pub rows: PackRows,
}

/// Which rows a pack step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PackRows {
    /// As many as the output has, in its order.
    InOrder,
    /// Those of a table, by each token's position.
    Table {
        /// Adds to what the output holds.
        add: bool,
        /// Positions are given a token.
        positions: bool,
    },
}

/// The key of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rotate {
    pub input: Input,
    pub output: Output,
    pub layout: RotaryLayout,
    /// Partners lie in whole 4-vectors: d is a multiple of 8 (half layout) or of 4.
    pub whole_chunks: bool,
    /// Moves 64 bits, and eight channels, at a time.
    pub wide: bool,
    /// Positions are given a token.
    pub positions: bool,
}

/// What one pipeline is compiled for. Lengths, strides, scale and interval masks are data, so a growing context
/// never recompiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// Attention of a tile of query rows.
    Prefill(Prefill),
    /// Merges partial results; of no partials it makes the result of dead rows.
    Combine { output: Output },
    /// Moves f32 rows to where and how they are to be stored.
    Pack(Pack),
    /// Turns rows by their positions.
    Rotate(Rotate),
    /// (lse, Δ) of each query.
    Delta(Delta),
    /// dQ, by tiles of query rows.
    GradQ(Gradient),
    /// dK and dV, by tiles of key rows.
    GradKv(Gradient),
    /// Partials of the gradients of the score's own numbers, by tiles of query rows.
    GradScore(Gradient, ScoreNumbers),
    /// The gradient of a dense bias, by tiles of rows and keys.
    GradBias(Gradient),
    /// Partials of the gradients of learned sinks.
    GradSinks,
    /// Adds up partials.
    Reduce,
    /// Looks for values that an operand may not hold.
    Check,
    /// What stands for each block of rows.
    Pool(Pool),
    /// How much each block of queries wants each block of keys.
    ScoreBlocks(ScoreBlocks),
    /// Which blocks hold visible pairs.
    ScanBlocks(ScanBlocks),
    /// The blocks that are kept, as lists.
    ListBlocks(ListBlocks),
}

/// The key of the step that pools blocks of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pool {
    pub input: Input,
    /// Least and largest values; else means.
    pub extremes: bool,
}

/// The key of the step that scores blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScoreBlocks {
    /// Keys are pooled to their least and largest values.
    pub extremes: bool,
    /// A scan has told which blocks hold visible pairs.
    pub scanned: bool,
}

/// The key of the step that asks about every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScanBlocks {
    /// Causal, window and lengths take part.
    pub intervals: bool,
    pub mask_mod: bool,
    /// Documents are compared pair by pair.
    pub segments: bool,
}

/// The key of the step that lists blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListBlocks {
    pub from: ListFrom,
    /// Invocations that share a list.
    pub invocations: u32,
}

/// Where a list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListFrom {
    /// The highest scores.
    Scores,
    /// All blocks that a scan has found.
    Scan,
    /// The lists of the other axis.
    Lists,
}

/// Numbers of the score whose gradients one kernel makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScoreNumbers {
    /// ALiBi's slopes.
    Slopes,
    /// T5's table, [`T5_PARTS`] buckets at a time.
    T5,
}

/// Buckets whose sums a workgroup keeps beside its tile.
pub const T5_PARTS: u32 = 16;
/// Heads in which an invocation turns its channels.
pub const ROTATED_HEADS: u32 = 4;
/// Rows that an invocation adds up for the sinks.
pub const SINK_ROWS: u32 = 256;

impl ScoreNumbers {
    pub fn parts(self) -> u32 {
        match self {
            Self::Slopes => 1,
            Self::T5 => T5_PARTS,
        }
    }
}

impl Variant {
    /// The entry point's file.
    pub fn kernel(&self) -> &'static str {
        match self {
            Self::Prefill(_) => "prefill",
            Self::Combine { .. } => "combine",
            Self::Pack(_) => "pack",
            Self::Rotate(_) => "rotate",
            Self::Delta(_) => "delta",
            Self::GradQ(_) => "grad_q",
            Self::GradKv(_) => "grad_kv",
            Self::GradScore(..) => "grad_score",
            Self::GradBias(_) => "grad_bias",
            Self::GradSinks => "grad_sinks",
            Self::Reduce => "reduce",
            Self::Check => "check",
            Self::Pool(_) => "pool",
            Self::ScoreBlocks(_) => "score_blocks",
            Self::ScanBlocks(_) => "scan_blocks",
            Self::ListBlocks(_) => "list_blocks",
        }
    }

    /// What the kernels that own tiles have in common.
    pub fn tiles(&self) -> Option<Tiles> {
        match *self {
            Self::Prefill(key) => Some(Tiles {
                strategy: key.strategy,
                tiling: key.tiling,
                chunks: key.chunks,
                value_chunks: key.value_chunks,
                wide: key.wide,
                rolled: key.rolled,
            }),
            Self::GradQ(key)
            | Self::GradKv(key)
            | Self::GradBias(key)
            | Self::GradScore(key, _) => Some(key.tiles()),
            Self::Combine { .. }
            | Self::Pack(_)
            | Self::Rotate(_)
            | Self::Delta(_)
            | Self::GradSinks
            | Self::Reduce
            | Self::Check
            | Self::Pool(_)
            | Self::ScoreBlocks(_)
            | Self::ScanBlocks(_)
            | Self::ListBlocks(_) => None,
        }
    }

    /// The parts of the score that need code, where the kernel computes scores.
    fn score(&self) -> Option<&ScoreKey> {
        match self {
            Self::Prefill(key) => Some(&key.score),
            Self::GradQ(key)
            | Self::GradKv(key)
            | Self::GradBias(key)
            | Self::GradScore(key, _) => Some(&key.score),
            Self::Combine { .. }
            | Self::Pack(_)
            | Self::Rotate(_)
            | Self::Delta(_)
            | Self::GradSinks
            | Self::Reduce
            | Self::Check
            | Self::Pool(_)
            | Self::ScoreBlocks(_)
            | Self::ScanBlocks(_)
            | Self::ListBlocks(_) => None,
        }
    }

    /// True when the shader calls functions of the user's.
    pub fn uses_mods(&self) -> bool {
        matches!(self, Self::ScanBlocks(key) if key.mask_mod)
            || self
                .score()
                .is_some_and(|key| key.mask_mod || key.score_mod)
    }

    /// True when the shader needs the subgroup feature.
    pub fn needs_subgroups(&self) -> bool {
        self.tiles()
            .is_some_and(|tiles| tiles.strategy != Strategy::Workgroup)
    }

    /// True when the shader needs wgpu's 64-bit integers, which WGSL itself does not have.
    pub fn needs_int64(&self) -> bool {
        matches!(self, Self::Rotate(key) if key.wide)
            || self.tiles().is_some_and(|tiles| tiles.wide)
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_memory(&self) -> u32 {
        let sums = match self {
            Self::GradScore(key, numbers) => numbers.parts() * key.tiling.invocations * 4,
            // Two counts an invocation, and those of 16 rounds of 3 bounds.
            Self::ListBlocks(key) => (2 * key.invocations + 48) * 4,
            Self::ScanBlocks(_) => 4,
            _ => 0,
        };
        sums + match self.tiles() {
            Some(tiles) if tiles.strategy == Strategy::Workgroup => {
                workgroup_tile_bytes(tiles.tiling.tile, tiles.chunks + tiles.value_chunks)
            }
            _ => 0,
        }
    }

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        match self {
            Self::ListBlocks(key) => key.invocations,
            _ => self
                .tiles()
                .map_or(ROW_KERNEL_INVOCATIONS, |tiles| tiles.tiling.invocations),
        }
    }
}

/// What the kernels that own tiles have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    pub strategy: Strategy,
    pub tiling: Tiling,
    pub chunks: u32,
    pub value_chunks: u32,
    pub wide: bool,
    pub rolled: bool,
}

impl Gradient {
    pub fn tiles(&self) -> Tiles {
        Tiles {
            strategy: self.strategy,
            tiling: self.tiling,
            chunks: self.chunks,
            value_chunks: self.value_chunks,
            wide: self.wide,
            rolled: self.rolled,
        }
    }
}

/// Invocations of the kernels that own no tile but one small piece of output each.
pub const ROW_KERNEL_INVOCATIONS: u32 = 64;

/// Workgroup memory of a tile of `keys` rows of `chunks` 4-vectors each, with its two words of marks.
pub fn workgroup_tile_bytes(keys: u32, chunks: u32) -> u32 {
    keys * chunks * 16 + 16
}

impl Input {
    /// How tensors of one element, with rows of `dims` channels, are read by one kernel.
    pub fn of(operands: &[&Operand], dims: &[u32]) -> Self {
        let aligned = operands.iter().all(|x| x.layout.is_aligned(4))
            && dims.iter().all(|d| d.is_multiple_of(4));
        Self {
            element: operands[0].element,
            aligned,
        }
    }
}

impl Output {
    /// How the rows of `dim` channels of one tensor are written.
    pub fn of(operand: &Operand, dim: u32) -> Self {
        Self {
            element: operand.element,
            aligned: operand.layout.is_aligned(4) && dim.is_multiple_of(4),
        }
    }

    /// Contiguous f32 rows from the start of a buffer.
    pub fn scratch(dim: u32) -> Self {
        Self {
            element: Element::F32,
            aligned: dim.is_multiple_of(4),
        }
    }
}

/// Whether every row is made of whole eights of channels, which loads of 64 bits take at once.
pub fn whole_eights(rows: &[(&Operand, u32)]) -> bool {
    rows.iter()
        .all(|(x, dim)| x.layout.is_aligned(8) && dim.is_multiple_of(8))
}

impl Rotate {
    /// Channels that are moved at a time.
    pub fn chunk_channels(&self) -> u32 {
        if self.wide { 8 } else { 4 }
    }
}

impl ScoreKey {
    /// The flags of the shader, and whether each is set.
    pub fn flags(&self) -> [(&'static str, bool); 10] {
        [
            ("softcap", self.softcap),
            ("bias", self.bias),
            ("bias_pairs", self.bias_pairs),
            ("alibi", self.alibi),
            ("t5", self.t5),
            ("q_positions", self.q_positions),
            ("k_positions", self.k_positions),
            ("temperature", self.temperature),
            ("mask_mod", self.mask_mod),
            ("score_mod", self.score_mod),
        ]
    }
}

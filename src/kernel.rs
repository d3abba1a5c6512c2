//! The kernels: one file per family, with its key and all that follows from it. To add one is such a file, its WGSL (named in
//! [`crate::shader`]'s library), an arm of [`Variant`] and the planner that makes its steps.

pub mod params;

mod address;
mod append;
mod check;
mod codec;
mod decode;
mod delta;
mod grad_bias;
mod grad_key_bias;
mod grad_kv;
mod grad_q;
mod grad_score;
mod grad_sinks;
mod gradient;
mod hadamard;
mod list_blocks;
mod mask;
mod max_scores;
mod merge;
mod pack;
mod pool;
mod prefill;
mod reduce;
mod rotate;
mod scan_blocks;
mod score;
mod score_blocks;
mod sequences;
mod strategy;
mod tiles;

use std::fmt;

pub use address::Address;
pub use append::Append;
pub use check::{CHECK_RUN, Check};
pub use codec::{Input, Output, whole_vec8s};
pub use decode::Decode;
pub use delta::Delta;
pub use grad_bias::GradBias;
pub use grad_key_bias::GradKeyBias;
pub use grad_kv::GradKv;
pub use grad_q::GradQ;
pub use grad_score::{GradScore, ScoreNumbers, T5_PARTS};
pub use grad_sinks::{GradSinks, SINK_ROWS};
pub use gradient::Gradient;
pub use hadamard::Hadamard;
pub use list_blocks::{ListBlocks, ListFrom};
pub use mask::MaskKey;
pub use max_scores::{MAX_SCORES_RUN, MaxScores};
pub use merge::Merge;
pub use pack::{Pack, PackRows};
pub use params::{NOTHING, Params, Strides};
pub use pool::Pool;
pub use prefill::Prefill;
pub use reduce::Reduce;
pub use rotate::{ROTATED_HEADS, Rotate};
pub use scan_blocks::ScanBlocks;
pub use score::ScoreKey;
pub use score_blocks::ScoreBlocks;
pub use sequences::Sequences;
pub use strategy::{Strategy, StrategyKind};
pub use tiles::{Tiles, Tiling, workgroup_tile_bytes};

use crate::error::{Error, Result};
use crate::problem::ModText;
use crate::shader::{self, Needs, Shader, Source};

/// A kernel family: what follows from the key of one of its kernels. Lengths, strides, scale and interval masks are data
/// and in no key, so a growing context never recompiles.
pub trait Kernel: fmt::Display {
    /// The entry point's file in `shaders/kernel/`.
    fn entry(&self) -> &'static str;

    /// Adds modules, constants and conditions.
    fn compose(&self, source: &mut Source);

    /// The workgroup's size and memory.
    fn workgroup(&self) -> Workgroup;

    /// What an invocation or a workgroup owns, for people.
    fn owns(&self) -> String;

    /// The tiles of a kernel that visits tiles.
    fn tiles(&self) -> Option<Tiles> {
        None
    }

    /// Storage buffers that the shader binds beside those that a step names: the small operands, and the rotary table
    /// where it rotates.
    fn shared_buffers(&self) -> u32 {
        1
    }

    /// What the shader needs of a device.
    fn needs(&self) -> Needs {
        let tiles = self.tiles();
        Needs {
            subgroups: tiles.is_some_and(|tiles| tiles.strategy.uses_subgroups()),
            int64: tiles.is_some_and(|tiles| tiles.vec8),
        }
    }

    /// True when the shader calls functions of the user's.
    fn uses_mods(&self) -> bool {
        false
    }
}

/// A workgroup's size, and the bytes of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workgroup {
    pub invocations: u32,
    pub memory: u32,
}

/// Invocations of the kernels that own no tile but one small piece of output each.
pub const ROW_KERNEL_INVOCATIONS: u32 = 64;

impl Workgroup {
    /// Of a kernel whose invocations own one small piece of output each.
    const ROWS: Self = Self {
        invocations: ROW_KERNEL_INVOCATIONS,
        memory: 0,
    };
}

macro_rules! variants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The compile key of one pipeline: only what changes the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Variant { $($(#[$doc])* $name($name),)* }

        impl Variant {
            /// The names of all families.
            pub const FAMILIES: &[&str] = &[$(stringify!($name),)*];

            /// The kernel of this key.
            pub fn kernel(&self) -> &dyn Kernel {
                match self { $(Self::$name(key) => key,)* }
            }

            /// Which of [`Self::FAMILIES`] it is of.
            pub fn family(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
        }

        $(impl From<$name> for Variant {
            fn from(key: $name) -> Self {
                Self::$name(key)
            }
        })*
    };
}

variants! {
    /// Attention of a tile of query rows.
    Prefill,
    /// Attention of few queries, whose tiles pack the heads of one KV head.
    Decode,
    /// Merges partial results; of no partials it makes the result of fully masked rows.
    Merge,
    /// Moves f32 rows to where and how they are to be stored.
    Pack,
    /// Writes new rows into a cache.
    Append,
    /// Rotates rows by their positions.
    Rotate,
    /// Rotates rows by a Walsh–Hadamard matrix.
    Hadamard,
    /// (lse, Δ) per query.
    Delta,
    /// dQ, by tiles of query rows.
    GradQ,
    /// dK and dV, by tiles of key rows.
    GradKv,
    /// Partials of the gradients of the score's own numbers, by tiles of query rows.
    GradScore,
    /// The gradient of a dense bias, by tiles of rows and keys.
    GradBias,
    /// The gradient of a dense bias that queries share, by tiles of key rows.
    GradKeyBias,
    /// Partials of the gradients of learned sinks.
    GradSinks,
    /// Adds up partials.
    Reduce,
    /// The largest of many scores.
    MaxScores,
    /// Looks for values that an operand may not hold.
    Check,
    /// What stands for each block of rows.
    Pool,
    /// How much each block of queries wants each block of keys.
    ScoreBlocks,
    /// Which blocks hold visible pairs.
    ScanBlocks,
    /// The blocks that are kept, as lists.
    ListBlocks,
    /// What follows from `cu_seqlens` on the device.
    Sequences,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kernel().fmt(f)
    }
}

impl Variant {
    /// The entry point's file in `shaders/kernel/`.
    pub fn entry(&self) -> &'static str {
        self.kernel().entry()
    }

    /// The tiles of a kernel that visits tiles.
    pub fn tiles(&self) -> Option<Tiles> {
        self.kernel().tiles()
    }

    /// What the shader needs of a device.
    pub fn needs(&self) -> Needs {
        self.kernel().needs()
    }

    /// True when the shader calls functions of the user's.
    pub fn uses_mods(&self) -> bool {
        self.kernel().uses_mods()
    }

    /// The workgroup's size and memory.
    pub fn workgroup(&self) -> Workgroup {
        self.kernel().workgroup()
    }

    /// The modules, constants and conditions that the kernel is composed of.
    pub fn source(&self) -> Source {
        let kernel = self.kernel();
        let mut source = Source::new(kernel.entry());
        source.parameters(params::GROUPS);
        // Of tensors whose rows no variant lays otherwise.
        source.slot("address", vec!["address::strided"]);
        address::compose(&mut source, Address::Strided, Address::Strided, false);
        source.constant("INVOCATIONS", kernel.workgroup().invocations);
        kernel.compose(&mut source);
        source
    }

    /// The WGSL of the kernel, with the user's functions where it calls them.
    ///
    /// # Errors
    ///
    /// [`Error::Compose`] where `mods` is missing, or a module of the crate's is at fault.
    pub fn compose(&self, mods: Option<&ModText>) -> Result<Shader> {
        let _span = tracing::debug_span!("compose", variant = %self).entered();
        let mut source = self.source();
        if self.uses_mods() {
            let text = mods.ok_or_else(|| {
                Error::compose(
                    "slot::mods",
                    0,
                    "the variant calls user functions and none are given",
                )
            })?;
            source.text("mods", text.renamed());
        }
        source.compose(shader::find)
    }
}

//! What the gradient kernels that visit KV tiles have in common.

use std::fmt;

use crate::shader::Source;

use super::address;
use super::tiles::Dims;
use super::{Address, Input, MaskKey, ScoreKey, Strategy, Tiles, Tiling};

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
    /// Of q, dO, (lse, Δ) and dq.
    pub q_address: Address,
    /// Of k, v, dk and dv.
    pub k_address: Address,
    /// ⌈D/4⌉
    pub chunks: u32,
    /// ⌈Dv/4⌉
    pub value_chunks: u32,
    pub score: ScoreKey,
    pub mask: MaskKey,
    /// Loads 64 bits, and eight channels, at a time.
    pub vec8: bool,
    /// Scores come key by key out of a loop.
    pub key_loop: bool,
    /// Writes the number of visited tiles in place of dq or of a key tile's first dk: a diagnostic.
    pub count_tiles: bool,
}

impl Gradient {
    /// What the kernel is told of its tiles.
    pub fn tiles(&self) -> Tiles {
        Tiles {
            strategy: self.strategy,
            tiling: self.tiling,
            chunks: self.chunks,
            value_chunks: self.value_chunks,
            vec8: self.vec8,
            key_loop: self.key_loop,
        }
    }

    /// `transposed` where rows are keys, `every_tile` where no schedule leads to a tile; the kernel sums rows as long as a
    /// head, as a value.
    pub(super) fn compose(
        &self,
        source: &mut Source,
        [transposed, every_tile]: [bool; 2],
        [head_sum, value_sum]: [bool; 2],
    ) {
        // Their texts go over all columns of a step.
        debug_assert!(
            self.strategy.owns_keys(),
            "no gradient by {}",
            self.strategy
        );
        self.tiles().compose(source);
        let (queries, keys) = (self.q_address, self.k_address);
        for (slot, input, address) in [
            ("q_rows", &self.input, queries),
            ("k_rows", &self.input, keys),
            ("v_rows", &self.value, keys),
            ("d_o_rows", &self.d_o, queries),
        ] {
            source.slot(slot, input.modules_at(address, self.vec8));
        }
        address::compose(source, queries, keys, transposed);
        self.score.compose(source, &self.mask, None);
        self.mask.compose(source);
        for (name, value) in [
            ("packed", false),
            ("count_tiles", self.count_tiles),
            ("gradient", true),
            ("transposed", transposed),
            ("every_tile", every_tile),
            ("head_rows", true),
            ("value_rows", true),
            ("head_sum", head_sum),
            ("value_sum", value_sum),
        ] {
            source.flag(name, value);
        }
    }

    /// `entry` and what distinguishes the kernel from others of its file.
    pub(super) fn name(&self, entry: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tiles = self.tiles();
        write!(
            f,
            "{entry} {} {}{},{}{}x{} {}{}{}{}",
            tiles.strategy_name(),
            self.input,
            self.q_address,
            self.value,
            self.k_address,
            self.d_o,
            Dims(self.chunks, self.value_chunks),
            self.score,
            self.mask,
            tiles.ways(),
        )
    }

    pub(super) fn uses_mods(&self) -> bool {
        self.score.uses_mods()
    }
}

/// A kernel that is told of a [`Gradient`] and nothing else: its key, its entry point, whether its rows are keys and whether
/// it owns every tile, and whether it sums rows as long as a head and as a value ([`Gradient::compose`]).
macro_rules! gradient_kernel {
    ($(#[$doc:meta])* $name:ident: $entry:literal, $rows:expr, $sums:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $crate::kernel::Gradient);

        impl $crate::kernel::Kernel for $name {
            fn entry(&self) -> &'static str {
                $entry
            }

            fn compose(&self, source: &mut $crate::shader::Source) {
                self.0.compose(source, $rows, $sums);
            }

            fn workgroup(&self) -> $crate::kernel::Workgroup {
                self.0.tiles().workgroup(0)
            }

            fn owns(&self) -> String {
                self.0.tiling.to_string()
            }

            fn tiles(&self) -> Option<$crate::kernel::Tiles> {
                Some(self.0.tiles())
            }

            fn uses_mods(&self) -> bool {
                self.0.uses_mods()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.name($entry, f)
            }
        }
    };
}
pub(super) use gradient_kernel;

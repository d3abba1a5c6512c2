//! Attention of a tile of query rows.

use std::fmt;

use crate::problem::Element;
use crate::problem::position::RotaryLayout;
use crate::shader::Source;

use super::address;
use super::tiles::Dims;
use super::{
    Address, Input, Kernel, MaskKey, Output, ScoreKey, Strategy, Tiles, Tiling, Workgroup,
};

/// The key of a forward kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefill {
    pub strategy: Strategy,
    pub tiling: Tiling,
    pub q: Input,
    pub k: Input,
    pub v: Input,
    /// Where rows of q, o and lse lie, those of k, and those of v.
    pub q_address: Address,
    pub k_address: Address,
    pub v_address: Address,
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
    pub vec8: bool,
    /// Scores of the subgroup strategy come key by key out of a loop: short text, which software adapters compile fast
    /// and need fewer registers for.
    pub key_loop: bool,
    /// Writes the largest scores, too, behind all lse.
    pub max_score: bool,
    /// Writes the number of visited tiles in place of lse: a diagnostic.
    pub count_tiles: bool,
}

impl Prefill {
    fn all_tiles(&self) -> Tiles {
        Tiles {
            strategy: self.strategy,
            tiling: self.tiling,
            chunks: self.chunks,
            value_chunks: self.value_chunks,
            vec8: self.vec8,
            key_loop: self.key_loop,
        }
    }

    /// `packed`: tiles have the rows of several heads side by side.
    pub(super) fn compose_rows(&self, source: &mut Source, packed: bool) {
        self.all_tiles().compose(source);
        for (slot, input, address) in [
            ("q_rows", &self.q, self.q_address),
            ("k_rows", &self.k, self.k_address),
            ("v_rows", &self.v, self.v_address),
        ] {
            let modules = match self.is_bare(input) {
                true => input.bare_modules_at(address, self.vec8),
                false => input.modules_at(address, self.vec8),
            };
            source.slot(slot, modules);
        }
        source.flag("looked_up", self.looks_up());
        source.flag("head_bare", self.is_bare(&self.k));
        source.flag("value_bare", self.is_bare(&self.v));
        address::compose(source, self.q_address, self.v_address, false);
        self.score.compose(source, &self.mask, self.rotary);
        self.mask.compose(source);
        source.slot("o_rows", self.output.modules_at(self.q_address, false));
        for (name, value) in [
            ("packed", packed),
            ("count_tiles", self.count_tiles),
            ("max_score", self.max_score),
            ("gradient", false),
            ("transposed", false),
            ("every_tile", false),
            // q is of rows as long as a head, o sums rows as long as a value.
            ("head_rows", true),
            ("value_rows", false),
            ("head_sum", false),
            ("value_sum", true),
        ] {
            source.flag(name, value);
        }
    }

    /// Whether finding a row is a load, which the invocation that has its column does for all: on lavapipe a load is dearer than
    /// a shuffle.
    fn looks_up(&self) -> bool {
        self.strategy.spreads_columns()
            && [self.k_address, self.v_address].contains(&Address::Paged)
    }

    /// Whether rows are read without their scale, which the strategy reads once.
    fn is_bare(&self, input: &Input) -> bool {
        self.strategy.spreads_columns() && input.element == Element::Int8
    }

    /// `q,v`, or `q,k,v` where k is stored otherwise than q.
    fn inputs(&self) -> String {
        let k = match self.q == self.k {
            true => String::new(),
            false => format!(",{}", self.k),
        };
        let [q_at, k_at, v_at] = [self.q_address, self.k_address, self.v_address];
        format!("{}{q_at}{k}{k_at},{}{v_at}", self.q, self.v)
    }

    /// What the kernel is, behind the name of its family.
    pub(super) fn name(&self, family: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tiles = self.all_tiles();
        write!(
            f,
            "{family} {} {}->{} {}{}{}{}{}{}",
            tiles.strategy_name(),
            self.inputs(),
            self.output,
            Dims(self.chunks, self.value_chunks),
            self.score,
            self.mask,
            if self.rotary.is_some() { " rotary" } else { "" },
            if self.max_score { " max" } else { "" },
            tiles.ways(),
        )
    }
}

impl Kernel for Prefill {
    fn entry(&self) -> &'static str {
        "prefill"
    }

    fn compose(&self, source: &mut Source) {
        self.compose_rows(source, false);
    }

    fn workgroup(&self) -> Workgroup {
        self.all_tiles().workgroup(0)
    }

    fn owns(&self) -> String {
        self.tiling.to_string()
    }

    fn tiles(&self) -> Option<Tiles> {
        Some(self.all_tiles())
    }

    fn shared_buffers(&self) -> u32 {
        1 + u32::from(self.rotary.is_some())
    }

    fn uses_mods(&self) -> bool {
        self.score.uses_mods()
    }
}

impl fmt::Display for Prefill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name("prefill", f)
    }
}

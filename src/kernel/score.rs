//! The parts of a score that need code.

use std::fmt;

use crate::problem::Element;
use crate::problem::position::RotaryLayout;
use crate::shader::Source;

use super::codec::element_module;
use super::mask::MaskKey;

/// The parts of a score that need code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScoreKey {
    pub softcap: bool,
    pub bias: bool,
    /// How it is stored; f32 without one.
    pub bias_element: Element,
    /// Its rows are loaded two numbers at a time, as one of 64 bits.
    pub bias_pairs: bool,
    /// It joins before the softcap.
    pub bias_first: bool,
    pub alibi: bool,
    pub t5: bool,
    /// Positions are given per token (for the score or for a fused rotation), not told by indices.
    pub q_positions: bool,
    pub k_positions: bool,
    /// Positions count within a ring.
    pub within_cache: bool,
    /// Each query has a temperature.
    pub temperature: bool,
    /// The user's functions that take part; their text stands beside the key (`Plan::mods`).
    pub mask_mod: bool,
    pub score_mod: bool,
}

impl ScoreKey {
    /// The conditions of the shader, and whether each is met.
    fn flags(&self) -> [(&'static str, bool); 12] {
        [
            ("softcap", self.softcap),
            ("bias", self.bias),
            ("bias_pairs", self.bias_pairs),
            ("bias_first", self.bias_first),
            ("alibi", self.alibi),
            ("t5", self.t5),
            ("q_positions", self.q_positions),
            ("k_positions", self.k_positions),
            ("within_cache", self.within_cache),
            ("temperature", self.temperature),
            ("mask_mod", self.mask_mod),
            ("score_mod", self.score_mod),
        ]
    }

    /// True when functions of the user's take part.
    pub(super) fn uses_mods(&self) -> bool {
        self.mask_mod || self.score_mod
    }

    /// The parts of the score, and how q and k are rotated as they are loaded.
    pub(super) fn compose(
        &self,
        source: &mut Source,
        mask: &MaskKey,
        rotary: Option<RotaryLayout>,
    ) {
        for (name, value) in self.flags() {
            source.flag(name, value);
        }
        source.flag("bias_halves", self.bias_element != Element::F32);
        let element = element_module(self.bias_element);
        source.slot("bias_element", element.into_iter().collect());
        source.flag("positions", self.alibi || self.t5);
        source.flag("hiding_scores", self.bias || self.score_mod);
        source.flag("mods", self.uses_mods());
        source.flag("asked_everywhere", self.mask_mod && !mask.marked);
        source.slot("mods", Vec::new());
        source.flag("rotary", rotary.is_some());
        let load = match rotary {
            Some(RotaryLayout::Half) => "position::load_half",
            Some(RotaryLayout::Interleaved) => "position::load_interleaved",
            None => "position::load_plain",
        };
        source.slot("q_load", vec![load]);
        source.slot("k_load", vec![load]);
        let table = rotary.map(|_| "position::table");
        source.slot("rotations", table.into_iter().collect());
    }
}

impl fmt::Display for ScoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flags()
            .iter()
            .filter(|(_, set)| *set)
            .try_for_each(|(name, _)| write!(f, " {name}"))?;
        match self.bias_element {
            Element::F32 => Ok(()),
            element => write!(f, " bias of {element}"),
        }
    }
}

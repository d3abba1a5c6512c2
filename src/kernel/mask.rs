//! The parts of a mask that need code.

use std::fmt;

use crate::shader::Source;

/// The parts of a mask that need code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaskKey {
    /// Visits lists of blocks; else intervals.
    pub list: bool,
    /// Some of the listed blocks are partial and have bits.
    pub bits: bool,
    /// Documents are compared pair by pair.
    pub segments: bool,
    /// A boolean mask is asked pair by pair.
    pub dense: bool,
    /// Queries are drafts that branch.
    pub tree: bool,
    /// The lists lie on the device: each behind its length, with room for as many blocks.
    pub device: bool,
    /// Listed blocks say whether mask_mod is asked; else it is asked everywhere.
    pub marked: bool,
}

impl MaskKey {
    /// Which tiles are visited, and which masks are asked pair by pair.
    pub(super) fn compose(&self, source: &mut Source) {
        let schedule = match self.list {
            true => "schedule::list",
            false => "schedule::interval",
        };
        source.slot("schedule", vec![schedule]);
        source.flag("list", self.list);
        source.flag("block_bits", self.bits);
        source.flag("segments", self.segments);
        source.flag("dense_mask", self.dense);
        source.flag("tree", self.tree);
        source.flag("device_list", self.device);
        source.flag("marked_list", self.marked);
    }
}

impl fmt::Display for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, set) in [
            (" list", self.list),
            (" with bits", self.bits),
            (" segments", self.segments),
            (" dense", self.dense),
            (" tree", self.tree),
            (" on the device", self.device),
            (" marked", self.marked),
        ] {
            f.write_str(if set { name } else { "" })?;
        }
        Ok(())
    }
}

//! How a score row and a key meet, and all that follows from it: a strategy more is a compile error at each question.

use std::fmt;

/// The strategies by name, for a caller that wants a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StrategyKind {
    /// Keys live in the lanes of a subgroup and are read by shuffle.
    Subgroup,
    /// Keys live in workgroup memory; needs no feature.
    Workgroup,
}

/// How a score row and a key meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strategy {
    /// Keys live in the lanes of a cluster of `width` invocations and are broadcast by shuffle. With `fixed` the
    /// device has this one width, so the source lane is a constant.
    Subgroup { width: u32, fixed: bool },
    /// Channels live in the lanes of a cluster of `width` invocations, which share their rows; with `fixed` as above.
    Channels { width: u32, fixed: bool },
    /// Keys live in workgroup memory; needs no feature.
    Workgroup,
}

impl StrategyKind {
    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subgroup => "subgroup",
            Self::Workgroup => "workgroup",
        }
    }

    /// Needs the device's subgroups: a width can be asked for, and a loop over keys.
    pub(crate) fn uses_subgroups(self) -> bool {
        match self {
            Self::Subgroup => true,
            Self::Workgroup => false,
        }
    }
}

impl Strategy {
    /// By which name a caller asks for it.
    pub fn kind(self) -> StrategyKind {
        match self {
            Self::Subgroup { .. } | Self::Channels { .. } => StrategyKind::Subgroup,
            Self::Workgroup => StrategyKind::Workgroup,
        }
    }

    /// Needs the device's subgroups.
    pub fn uses_subgroups(self) -> bool {
        self.kind().uses_subgroups()
    }

    /// Lanes of a cluster, where it has any.
    pub fn width(self) -> Option<u32> {
        match self {
            Self::Subgroup { width, .. } | Self::Channels { width, .. } => Some(width),
            Self::Workgroup => None,
        }
    }

    /// What it multiplies with comes out of lanes, a 4-vector at a time, and not out of workgroup memory.
    pub fn shuffles(self) -> bool {
        match self {
            Self::Subgroup { .. } | Self::Channels { .. } => true,
            Self::Workgroup => false,
        }
    }

    /// An invocation has the scores of all keys of a step, not of one alone.
    pub fn owns_keys(self) -> bool {
        match self {
            Self::Subgroup { .. } | Self::Workgroup => true,
            Self::Channels { .. } => false,
        }
    }

    /// The lanes of a cluster have a part of each column: what is found for a whole column, one of them finds for all.
    pub fn spreads_columns(self) -> bool {
        match self {
            Self::Channels { .. } => true,
            Self::Subgroup { .. } | Self::Workgroup => false,
        }
    }

    /// Scores can come key by key out of a loop.
    pub fn has_key_loop(self) -> bool {
        match self {
            Self::Subgroup { .. } => true,
            Self::Channels { .. } | Self::Workgroup => false,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subgroup { .. } => "subgroup",
            Self::Channels { .. } => "subgroup, by channels",
            Self::Workgroup => "workgroup",
        })
    }
}

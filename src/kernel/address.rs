//! Where rows lie.

use std::fmt;

/// How a row's number becomes a place in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// At equal distances.
    #[default]
    Strided,
    /// In pages of a pool, which a table names.
    Paged,
    /// The first rows stay, the others go round a ring.
    Ring,
}

impl Address {
    /// The module that says so.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Strided => "address::strided",
            Self::Paged => "address::paged",
            Self::Ring => "address::ring",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strided => "",
            Self::Paged => " paged",
            Self::Ring => " ring",
        })
    }
}

//! Where rows lie.

use std::fmt;

use crate::shader::Source;

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
    /// Rows of queries, of sequences one after the other.
    RaggedQueries,
    /// The same of keys.
    RaggedKeys,
}

impl Address {
    /// The module that says so.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Strided => "address::strided",
            Self::Paged => "address::paged",
            Self::Ring => "address::ring",
            Self::RaggedQueries => "address::ragged_queries",
            Self::RaggedKeys => "address::ragged_keys",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strided => "",
            Self::Paged => " paged",
            Self::Ring => " ring",
            Self::RaggedQueries | Self::RaggedKeys => " ragged",
        })
    }
}

/// Of a kernel's tensors that have a row per query, or per key, and no codec; `transposed` where its own rows are keys.
pub(super) fn compose(source: &mut Source, queries: Address, keys: Address, transposed: bool) {
    source.slot("query_address", vec![queries.module()]);
    source.slot("key_address", vec![keys.module()]);
    let (queries, keys) = (
        queries == Address::RaggedQueries,
        keys == Address::RaggedKeys,
    );
    source.flag("ragged_queries", queries);
    source.flag("ragged_keys", keys);
    source.flag("ragged_rows", if transposed { keys } else { queries });
}

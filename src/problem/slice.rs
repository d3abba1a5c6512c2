//! The part of a problem that one call computes.

use std::ops::Range;

/// The part of a problem that one call computes: these queries against these keys, in coordinates of the whole
/// problem, so a cut changes no mask, position or bias.
///
/// A call with a slice of the keys yields a partial `(o, lse)`; [`crate::Merge`] joins partials. Two ranges are all that a
/// slice is, so a literal may state it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Queries, as indices of the whole problem.
    pub q: Range<u32>,
    /// Keys, as indices of the whole problem.
    pub k: Range<u32>,
}

impl Slice {
    /// True where it holds queries and keys.
    pub(crate) fn has_pairs(&self) -> bool {
        !self.q.is_empty() && !self.k.is_empty()
    }
}

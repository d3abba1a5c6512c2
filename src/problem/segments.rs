//! Packed documents: tokens of several sequences along one axis, each seeing its own.

use crate::error::{Error, Result};

use super::position::check_tokens;
use super::{MAX_LEN, Tokens};

/// A document's id for each token; a pair is visible when its two ids are equal. Positions and indices do not restart.
///
/// Where the host knows ids that rise along queries and keys (each at least the one before), what a query sees is an
/// interval, and the tiles of other documents are not visited. Others are compared pair by pair in every tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segments {
    /// `[B, Nq]` and `[B, Nk]`, or `[total]` of a ragged side.
    Host {
        /// `[B, Nq]`
        q: Vec<i32>,
        /// `[B, Nk]`
        k: Vec<i32>,
    },
    /// `i32 [B, Nq]` and `i32 [B, Nk]` in the buffers `segments_q` and `segments_k` of the operands.
    Device,
}

impl Segments {
    /// Ids of one axis for both: self-attention.
    pub fn same(ids: Vec<i32>) -> Self {
        Self::Host {
            q: ids.clone(),
            k: ids,
        }
    }

    /// Documents of these lengths, one after the other, for one batch of self-attention. Tokens past [`MAX_LEN`] + 1 are
    /// left out: there are too many for any problem as it is.
    pub fn documents(lengths: &[u32]) -> Self {
        let ids = (0..).zip(lengths);
        Self::same(
            ids.flat_map(|(id, &len)| std::iter::repeat_n(id, len as usize))
                .take(MAX_LEN as usize + 1)
                .collect(),
        )
    }

    pub(crate) fn validate(&self, [queries, keys]: [Tokens<'_>; 2]) -> Result<()> {
        let Self::Host { q, k } = self else {
            check_tokens("segments_q", queries.count())?;
            return check_tokens("segments_k", keys.count());
        };
        Error::check_values("segments_q", q.len(), queries.count())?;
        Error::check_values("segments_k", k.len(), keys.count())
    }

    /// For each query, as the ids lie, the keys of its document, where they are an interval.
    pub(crate) fn keys_of_queries(
        &self,
        [queries, keys]: [Tokens<'_>; 2],
    ) -> Option<Vec<[u32; 2]>> {
        let (q, k) = self.rising([queries, keys])?;
        intervals((q, queries), (k, keys))
    }

    /// For each key the queries of its document, where they are an interval: what a pass over keys visits.
    pub(crate) fn queries_of_keys(
        &self,
        [queries, keys]: [Tokens<'_>; 2],
    ) -> Option<Vec<[u32; 2]>> {
        let (q, k) = self.rising([queries, keys])?;
        intervals((k, keys), (q, queries))
    }

    /// The ids, where the host knows them and they rise in every batch.
    fn rising(&self, [queries, keys]: [Tokens<'_>; 2]) -> Option<(&[i32], &[i32])> {
        let Self::Host { q, k } = self else {
            return None;
        };
        // Ids of another shape are no intervals in this one.
        self.validate([queries, keys]).ok()?;
        let rises = |ids: &[i32], side: Tokens<'_>| {
            let mut batches = 0..if ids.is_empty() { 0 } else { side.batch };
            batches.all(|b| side.span(b).is_some_and(|span| ids[span].is_sorted()))
        };
        (rises(q, queries) && rises(k, keys)).then_some((q, k))
    }
}

/// For each of `from` the range in `to`, in its batch, with its id; both rise within a batch.
fn intervals(
    (from, of_from): (&[i32], Tokens<'_>),
    (to, of_to): (&[i32], Tokens<'_>),
) -> Option<Vec<[u32; 2]>> {
    let mut all = Vec::with_capacity(from.len());
    for b in 0..if from.is_empty() { 0 } else { of_from.batch } {
        let to = &to[of_to.span(b)?];
        all.extend(from[of_from.span(b)?].iter().map(|id| {
            let begin = to.partition_point(|x| x < id);
            [begin as u32, to.partition_point(|x| x <= id) as u32]
        }));
    }
    Some(all)
}

//! Packed documents: tokens of several sequences along one axis, each seeing its own.

use crate::error::{Error, Result};

use super::position::check_count;
use super::{MAX_LEN, Shape, tokens};

/// A document's id for each token; a pair is visible when its two ids are equal. Positions and indices do not restart.
///
/// Where the host knows ids that rise along queries and keys (each at least the one before), what a query sees is an
/// interval, and the tiles of other documents are not visited. Others are compared pair by pair in every tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segments {
    /// `[B, Nq]` and `[B, Nk]`
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

    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        let Self::Host { q, k } = self else {
            check_count("segments_q", shape.batch, shape.q_len)?;
            return check_count("segments_k", shape.batch, shape.kv_len);
        };
        Error::check_values("segments_q", q.len(), tokens(shape.batch, shape.q_len))?;
        Error::check_values("segments_k", k.len(), tokens(shape.batch, shape.kv_len))
    }

    /// For each query `[B, Nq]` the keys of its document, where they are an interval.
    pub fn keys_of_queries(&self, shape: &Shape) -> Option<Vec<[u32; 2]>> {
        let (q, k) = self.rising(shape)?;
        Some(intervals(q, k, shape.q_len, shape.kv_len))
    }

    /// For each key `[B, Nk]` the queries of its document, where they are an interval: what a pass over keys visits.
    pub fn queries_of_keys(&self, shape: &Shape) -> Option<Vec<[u32; 2]>> {
        let (q, k) = self.rising(shape)?;
        Some(intervals(k, q, shape.kv_len, shape.q_len))
    }

    /// The ids, where the host knows them and they rise in every batch.
    fn rising(&self, shape: &Shape) -> Option<(&[i32], &[i32])> {
        let Self::Host { q, k } = self else {
            return None;
        };
        // Ids of another shape are no intervals in this one.
        self.validate(shape).ok()?;
        let rises = |ids: &[i32], len: u32| {
            ids.chunks(len.max(1) as usize)
                .all(|batch| batch.is_sorted())
        };
        (rises(q, shape.q_len) && rises(k, shape.kv_len)).then_some((q, k))
    }
}

/// For each of `from` the range in `to` with its id; both rise within a batch.
fn intervals(from: &[i32], to: &[i32], from_len: u32, to_len: u32) -> Vec<[u32; 2]> {
    let rows = from.iter().enumerate().map(|(n, id)| {
        let b = n / from_len as usize;
        let to = &to[b * to_len as usize..][..to_len as usize];
        let (begin, end) = (
            to.partition_point(|x| x < id),
            to.partition_point(|x| x <= id),
        );
        [begin as u32, end as u32]
    });
    rows.collect()
}

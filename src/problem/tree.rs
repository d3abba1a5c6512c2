//! Drafts that branch: queries of which each sees its own branch.

use crate::error::{Error, Result};

use super::position::check_count;
use super::{Shape, tokens};

/// The most queries beneath a [`Tree`]: a query's branch is one word of 128 bits.
pub const MAX_TREE_QUERIES: u32 = 128;

/// Words of 32 bits of a query's branch.
pub(crate) const TREE_WORDS: u32 = MAX_TREE_QUERIES / 32;

/// A tree over the queries of each batch, for the verification of drafts: a query sees all keys before the drafts, its
/// own, and those of its ancestors.
///
/// The keys of the queries are those at which they stand: key `a_b + n` is query n's, where `a_b` is the batch's offset
/// ([`super::Offsets`]), by default `Nk − Nq`. In a cache with room for more, `q_offset` is the number of keys before the
/// drafts and `kv_lens` that number + Nq. Keys past those of the queries are hidden.
///
/// A parent stands before its children, so no query sees a key past its own, causal or not, and a prefix shows none.
/// Only tiles that reach the queries' own keys are asked pair by pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `[B, Nq]`: the query that each follows, or −1 for one that follows the keys before the drafts.
    Host(Vec<i32>),
    /// `u32 [B, Nq, 4]` in the buffer `tree` of the operands, as [`Self::words`] makes them: bit n of a query's 128, the
    /// lowest word first, is set where it sees query n's key. Bits of queries after it count for nothing.
    Device,
}

impl Tree {
    /// The words of a buffer for [`Self::Device`], of parents `[B, Nq]` as those of [`Self::Host`].
    ///
    /// # Errors
    ///
    /// More than [`MAX_TREE_QUERIES`] queries, parents that are no whole batches, and a parent that is neither −1 nor a
    /// query before its child.
    pub fn words(q_len: u32, parents: &[i32]) -> Result<Vec<u32>> {
        check_queries(q_len)?;
        let batches = parents.len().div_ceil(q_len.max(1) as usize) as u64;
        Error::check_values("tree", parents.len(), batches * u64::from(q_len))?;
        check_batches(q_len, parents)?;
        Ok(words(q_len, parents))
    }

    /// What is refused of a problem with this tree.
    pub(crate) fn validate(&self, shape: &Shape) -> Result<()> {
        check_queries(shape.q_len)?;
        match self {
            Self::Device => check_count("tree", shape.batch, TREE_WORDS * shape.q_len),
            Self::Host(parents) => {
                Error::check_values("tree", parents.len(), tokens(shape.batch, shape.q_len))?;
                check_batches(shape.q_len, parents)
            }
        }
    }
}

/// The words of parents that were checked.
pub(crate) fn words(q_len: u32, parents: &[i32]) -> Vec<u32> {
    let mut words = Vec::with_capacity(TREE_WORDS as usize * parents.len());
    let mut branches = Vec::new();
    for batch in parents.chunks(q_len.max(1) as usize) {
        branches.clear();
        for (n, &parent) in batch.iter().enumerate() {
            let before = usize::try_from(parent).map_or(0, |parent| branches[parent]);
            branches.push(before | 1_u128 << n);
        }
        let of = |x: &u128| [0, 32, 64, 96].map(|bits| (x >> bits) as u32);
        words.extend(branches.iter().flat_map(of));
    }
    words
}

fn check_queries(q_len: u32) -> Result<()> {
    if q_len <= MAX_TREE_QUERIES {
        return Ok(());
    }
    let allowed =
        format!("at most {MAX_TREE_QUERIES}; verify smaller trees, or a chain by a causal mask");
    Err(Error::size("q_len beneath a tree", q_len, allowed))
}

fn check_batches(q_len: u32, parents: &[i32]) -> Result<()> {
    let batches = parents.chunks(q_len.max(1) as usize);
    batches
        .zip((0..).step_by(q_len.max(1) as usize))
        .try_for_each(|(batch, first)| check_parents("tree", "query", batch, first))
}

/// Refuses a parent that is neither −1 nor one of those before its child. `first` is the index of the first of them.
pub(crate) fn check_parents(
    what: &'static str,
    child: &str,
    parents: &[i32],
    first: usize,
) -> Result<()> {
    let wrong = |&(n, &parent): &(usize, &i32)| !(-1..n as i32).contains(&parent);
    let Some((n, &parent)) = parents.iter().enumerate().find(wrong) else {
        return Ok(());
    };
    Err(Error::Element {
        what,
        index: first + n,
        actual: parent.into(),
        allowed: match n {
            0 => format!("-1, for no {child} stands before it"),
            _ => format!(
                "-1 or 0 to {}, a {child} before it: order parents before children",
                n - 1
            ),
        },
    })
}

//! Ragged batches: sequences of different lengths, one after the other along the axis of tokens, without padding.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::{Error, Result};

use super::{KvAddress, Lengths, MAX_LEN, Offsets, Problem, Shape, Slice, tokens};

/// Where the sequences of a ragged batch begin, as `cu_seqlens` of other libraries do: the running sum of their lengths.
/// S + 1 numbers for S sequences, from 0 to the number of all tokens; two equal neighbours are an empty sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CuSeqlens {
    /// Known to the host, which refuses numbers that do not begin at 0, that fall, or that leave a sequence longer than
    /// the shape's `q_len` or `kv_len`.
    Host(Vec<u32>),
    /// `u32 [S + 1]` in the buffer `cu_seqlens_q` or `cu_seqlens_k` of the operands. What falls or lies beyond the tokens
    /// is clamped by a step of the call, and tokens of a sequence past `q_len` or `kv_len` take no part.
    Device {
        /// Tokens of all sequences together: rows of the tensors.
        total: u32,
    },
}

impl CuSeqlens {
    /// Tokens of all sequences together.
    pub fn total(&self) -> u32 {
        match self {
            Self::Host(starts) => starts.last().copied().unwrap_or_default(),
            Self::Device { total } => *total,
        }
    }

    /// The length of the longest sequence; at most, where only the device knows.
    pub fn longest(&self) -> u32 {
        match self {
            Self::Host(starts) => {
                let lengths = starts.windows(2).map(|at| at[1].saturating_sub(at[0]));
                lengths.max().unwrap_or_default()
            }
            Self::Device { total } => *total,
        }
    }

    /// The tokens of sequence `b` among all, where the host knows them.
    pub fn tokens_of(&self, b: u32) -> Option<Range<u32>> {
        match self {
            Self::Host(starts) => {
                let at = starts.get(b as usize..)?.first_chunk::<2>()?;
                Some(at[0]..at[1])
            }
            Self::Device { .. } => None,
        }
    }

    /// `longest` is the shape's.
    fn validate(&self, names: Names, batch: u32, longest: u32) -> Result<()> {
        let starts = match self {
            Self::Host(starts) => starts,
            Self::Device { total } if *total <= MAX_LEN => return Ok(()),
            Self::Device { total } => {
                return Err(Error::size(
                    names.what,
                    *total,
                    format!("at most {MAX_LEN} tokens"),
                ));
            }
        };
        Error::check_values(names.what, starts.len(), u64::from(batch) + 1)?;
        let refuse = |index: usize, allowed: String| {
            Err(Error::Element {
                what: names.what,
                index,
                actual: starts[index].into(),
                allowed,
            })
        };
        if starts[0] != 0 {
            return refuse(0, "0, where the first sequence begins".into());
        }
        for (n, at) in starts.windows(2).enumerate() {
            if at[1] < at[0] {
                let least = at[0];
                return refuse(
                    n + 1,
                    format!("at least {least}, where the sequence before it begins"),
                );
            }
            if at[1] - at[0] > longest {
                let most = u64::from(at[0]) + u64::from(longest);
                let longest_name = names.longest;
                return refuse(
                    n + 1,
                    format!(
                        "at most {most}, or sequence {n} is longer than {longest_name} = {longest}"
                    ),
                );
            }
            if at[1] > MAX_LEN {
                return refuse(n + 1, format!("at most {MAX_LEN} tokens"));
            }
        }
        Ok(())
    }
}

/// What messages call one side's sequences.
#[derive(Clone, Copy)]
struct Names {
    what: &'static str,
    longest: &'static str,
}

const QUERIES: Names = Names {
    what: "cu_seqlens_q",
    longest: "q_len",
};
const KEYS: Names = Names {
    what: "cu_seqlens_k",
    longest: "kv_len",
};

/// The tokens of one side: those of each batch in rows of their own, or those of all sequences one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub batch: u32,
    /// Of a batch, at the most.
    pub len: u32,
    pub starts: Option<&'a CuSeqlens>,
}

impl Tokens<'_> {
    /// Queries and keys of a problem that is not ragged.
    pub fn of_shape(shape: &Shape) -> [Self; 2] {
        [shape.q_len, shape.kv_len].map(|len| Self {
            batch: shape.batch,
            len,
            starts: None,
        })
    }

    pub fn is_ragged(&self) -> bool {
        self.starts.is_some()
    }

    /// True where only the device knows where sequences begin.
    pub fn on_device(&self) -> bool {
        matches!(self.starts, Some(CuSeqlens::Device { .. }))
    }

    /// All together.
    pub fn count(&self) -> u64 {
        match self.starts {
            Some(starts) => starts.total().into(),
            None => tokens(self.batch, self.len),
        }
    }

    /// Those of batch `b`; as many as there may be where only the device knows.
    pub fn of(&self, b: u32) -> u32 {
        let known = self.starts.and_then(|starts| starts.tokens_of(b));
        known.map_or(self.len, |range| (range.end - range.start).min(self.len))
    }

    /// Where those of batch `b` stand among all; `None` where only the device knows.
    pub fn span(&self, b: u32) -> Option<Range<usize>> {
        let range = match self.starts {
            Some(starts) => starts.tokens_of(b)?,
            None => {
                let start = b as usize * self.len as usize;
                return Some(start..start + self.len as usize);
            }
        };
        Some(range.start as usize..range.end as usize)
    }

    /// Rows of a tensor that a kernel of rows takes: those of each batch, or of all sequences.
    pub fn rows_of(&self, slice: Range<u32>) -> Range<u32> {
        match self.starts {
            Some(starts) => 0..starts.total(),
            None => slice,
        }
    }

    /// Batches and rows of a tensor that has a row per token.
    pub fn rows(&self) -> [u32; 2] {
        match self.starts {
            Some(starts) => [1, starts.total()],
            None => [self.batch, self.len],
        }
    }
}

impl Problem {
    /// The tokens of a problem of one batch as a ragged batch: q, o and lse hold the sequences of `cu_seqlens_q` one after
    /// the other along the axis of tokens, k and v those of `cu_seqlens_k`. Masks, offsets (`a_b = len_k − len_q`) and
    /// default positions begin anew in each. Layouts stay as they are: q `[1, Hq, total, D]`.
    ///
    /// # Errors
    ///
    /// [`Error::Size`] of a problem of several batches, [`Error::Values`] where the two count different sequences, and
    /// [`Error::Element`] where one does not begin at 0, falls, or does not end at the problem's tokens.
    pub fn ragged(mut self, cu_seqlens_q: Vec<u32>, cu_seqlens_k: Vec<u32>) -> Result<Self> {
        if self.shape.batch != 1 {
            let allowed = "1: the sequences of a ragged batch lie one after the other along the axis of tokens";
            return Err(Error::size("batch", self.shape.batch, allowed));
        }
        let batch = cu_seqlens_q.len().saturating_sub(1);
        let batch = u32::try_from(batch).unwrap_or(u32::MAX);
        let longest = |names, starts: Vec<u32>, total: u32| -> Result<(u32, CuSeqlens)> {
            let starts = CuSeqlens::Host(starts);
            starts.validate(names, batch, total)?;
            if starts.total() != total {
                return Err(Error::Element {
                    what: names.what,
                    index: batch as usize,
                    actual: starts.total().into(),
                    allowed: format!("{total}, the number of all tokens"),
                });
            }
            Ok((starts.longest(), starts))
        };
        let (q_len, q) = longest(QUERIES, cu_seqlens_q, self.shape.q_len)?;
        let (kv_len, k) = longest(KEYS, cu_seqlens_k, self.shape.kv_len)?;
        (self.shape.batch, self.shape.q_len, self.shape.kv_len) = (batch, q_len, kv_len);
        (self.cu_seqlens_q, self.cu_seqlens_k) = (Some(q), Some(k));
        Ok(self)
    }

    /// Batches, heads and rows of q, o and lse as they lie in memory: `[1, Hq, total]` of a ragged batch.
    pub fn q_sizes(&self) -> [u32; 3] {
        let [batch, rows] = self.queries().rows();
        [batch, self.shape.q_heads, rows]
    }

    /// Batches, heads and rows of k and v as they lie in memory: `[1, Hkv, total]` of a ragged batch, otherwise as
    /// [`KvAddress::sizes`](super::KvAddress::sizes) says.
    pub fn kv_sizes(&self) -> [u32; 3] {
        match &self.cu_seqlens_k {
            Some(starts) => [1, self.shape.kv_heads, starts.total()],
            None => self.kv_address.sizes(&self.shape),
        }
    }

    pub(crate) fn queries(&self) -> Tokens<'_> {
        Tokens {
            batch: self.shape.batch,
            len: self.shape.q_len,
            starts: self.cu_seqlens_q.as_ref(),
        }
    }

    pub(crate) fn keys(&self) -> Tokens<'_> {
        Tokens {
            batch: self.shape.batch,
            len: self.shape.kv_len,
            starts: self.cu_seqlens_k.as_ref(),
        }
    }

    /// True where the offset of each sequence follows from its lengths, which only the device knows.
    pub(crate) fn offsets_follow_on_device(&self) -> bool {
        let on_device = self.queries().on_device() || self.keys().on_device();
        on_device && self.mask.q_offset == Offsets::BottomRight
    }

    /// The same problem with the lengths of its sequences, and the offsets that follow from them, where the host knows
    /// them: to masks and schedules a ragged batch is one whose batches have lengths of their own.
    pub(crate) fn resolved(&self) -> Cow<'_, Self> {
        let (queries, keys) = (self.queries(), self.keys());
        if !queries.is_ragged() && !keys.is_ragged() {
            return Cow::Borrowed(self);
        }
        let mut problem = self.clone();
        let batches = 0..self.shape.batch;
        if keys.is_ragged() && !keys.on_device() {
            problem.mask.kv_lens = Lengths::Host(batches.clone().map(|b| keys.of(b)).collect());
        }
        if self.mask.q_offset == Offsets::BottomRight && !self.offsets_follow_on_device() {
            let offset = |b| keys.of(b) as i32 - queries.of(b) as i32;
            problem.mask.q_offset = Offsets::Host(batches.map(offset).collect());
        }
        // Where no sequence has a token there is nothing to visit, whatever length was allowed for.
        let len = |side: Tokens<'_>| side.starts.map_or(side.len, |x| side.len.min(x.longest()));
        (problem.shape.q_len, problem.shape.kv_len) = (len(queries), len(keys));
        if let Some(Slice { q, k }) = &mut problem.slice {
            for (range, len) in [(q, problem.shape.q_len), (k, problem.shape.kv_len)] {
                *range = range.start.min(len)..range.end.min(len);
            }
        }
        Cow::Owned(problem)
    }

    /// Holds `cu_seqlens` against the shape, and against what sequences have no use for.
    pub(crate) fn validate_ragged(&self) -> Result<()> {
        let shape = &self.shape;
        if let Some(starts) = &self.cu_seqlens_q {
            starts.validate(QUERIES, shape.batch, shape.q_len)?;
        }
        if let Some(starts) = &self.cu_seqlens_k {
            starts.validate(KEYS, shape.batch, shape.kv_len)?;
        }
        let (queries, keys) = (self.queries(), self.keys());
        let ragged = queries.is_ragged() || keys.is_ragged();
        let slice = self.slice();
        const PAIRS: &str = "rows and columns of pairs are not those of a sequence: call it sequence by sequence, or \
                             write it as a function of indices (Problem::mods)";
        let refused = [
            (
                keys.is_ragged() && self.mask.kv_lens != Lengths::All,
                "kv_lens",
                "cu_seqlens_k says how many keys a sequence has; leave it out",
            ),
            (
                keys.is_ragged() && self.kv_address != KvAddress::Strided,
                "a cache's address of keys",
                "rows of a cache are counted per sequence already; leave cu_seqlens_k out",
            ),
            (
                keys.is_ragged() && self.shared_prefix > 0,
                "a shared prefix",
                "sequences whose keys lie one after the other share none; pages of a cache do (KvAddress::Paged)",
            ),
            (ragged && self.score.bias.is_some(), "a dense bias", PAIRS),
            (ragged && self.mask.dense.is_some(), "a boolean mask", PAIRS),
            (ragged && self.mask.blocks.is_some(), "a block mask", PAIRS),
            (ragged && self.mask.tree.is_some(), "a tree", PAIRS),
            (
                ragged && self.max_score.is_some(),
                "the largest score",
                "call it sequence by sequence",
            ),
            (
                ragged && (self.k_hadamard || self.v_hadamard),
                "a Hadamard rotation",
                "rotate k and v back, or call it sequence by sequence",
            ),
            (
                queries.is_ragged() && slice.q != (0..shape.q_len),
                "a slice of the queries",
                "call it with fewer sequences, or cut its steps by PlanOptions::slice_rows",
            ),
        ];
        for (given, what, way_out) in refused {
            if given {
                return Err(Error::Ragged { what, way_out });
            }
        }
        self.validate_table()
    }

    /// Where only the device knows offsets, it is not known either which positions the rotary table must hold.
    fn validate_table(&self) -> Result<()> {
        let position = &self.position;
        let by_index = position.q_positions == super::Positions::Index;
        let looked_up =
            position.rotary.is_some() && position.range.is_none() && !position.rows_given;
        match looked_up && by_index && self.offsets_follow_on_device() {
            true => Err(Error::Unstated),
            false => Ok(()),
        }
    }
}

//! How a position enters the score.
//!
//! [`Rotary`] says how q and k rotate with their positions and [`Table`] holds the cosines and sines a shader reads;
//! [`absolute`] has the schemes that are added to embeddings instead. Biases by distance are parts of the score:
//! [`alibi_slopes`](super::alibi_slopes) and [`T5`](super::T5).

pub mod absolute;
mod describe;
mod frequencies;
mod hf_config;
mod rope;
mod table;
mod temperature;
mod within;
mod xpos;

pub use frequencies::{Llama3, LongRope, RopeKind, Yarn, mscale};
pub use rope::{Origin, Precision, Rotary, RotaryLayout};
pub use table::{Growth, Side, Table};
pub(crate) use table::{check_range, check_xpos};
pub use temperature::Temperature;
pub use xpos::XPos;

use std::ops::RangeInclusive;

use crate::error::{Error, Result};

use super::{Mask, Offsets, Shape, Tokens, tokens};

/// Farthest position that a host may state, on either side of 0: differences of two stay within `i32`.
pub const MAX_POSITION: i32 = 1 << 30;

/// The positions of queries or keys. Causal and window masks always go by indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Positions {
    /// Query i stands at `a_b + i`, key j at j.
    #[default]
    Index,
    /// `[B, N]`, or `[total]` of a ragged batch; negative is legal.
    Host(Vec<i32>),
    /// `i32 [B, N]`, or `[total]`, in the operand's buffer; clamped to the stated range in the shader.
    Device,
}

/// How positions enter: which they are, and whether q and k rotate with them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// The rotation of q and k, if any.
    pub rotary: Option<Rotary>,
    /// k holds rotated keys, as caches do: only queries are rotated, and a factor on cosines and sines (YaRN) is not put
    /// on keys again. Keys rotated for another length (dynamic NTK, LongRoPE) keep what they were given.
    pub k_rotated: bool,
    /// The queries' rows of the rotary table lie in the operand `rotations`, f32 `[B, Nq, pairs, 2]` (cosine and sine of each
    /// pair; under xPos the keys' pairs behind the queries'), whatever the positions: how a cache that grows for ever, or
    /// a scheme whose angles change, needs no table. k must hold rotated keys.
    pub rows_given: bool,
    /// Positions count within a ring that keeps the first tokens and a window (StreamingLLM, arXiv 2309.17453, section 3.2):
    /// once a sequence is longer than both, key `j ≥ first` and every query have moved down by what is gone between, so that
    /// they never pass `first + window`. For keys that are not rotated yet.
    pub within_cache: bool,
    /// Where queries stand, `[B, Nq]`.
    pub q_positions: Positions,
    /// Where keys stand, `[B, Nk]`.
    pub k_positions: Positions,
    /// The context length that length-dependent kinds assume; `None` is the largest position + 1.
    pub length: Option<u32>,
    /// The positions that the rotary table holds; `None` where the host knows them all.
    pub range: Option<RangeInclusive<i32>>,
}

setters! {
    Position {
        with_rotary(rotary?: Rotary);
        with_k_rotated(k_rotated: bool);
        with_rows_given(rows_given: bool);
        with_within_cache(within_cache: bool);
        with_q_positions(q_positions: Positions);
        with_k_positions(k_positions: Positions);
        with_length(length?: u32);
        with_range(range?: RangeInclusive<i32>);
    }
}

impl Position {
    /// RoPE at default positions.
    pub fn rotary(rotary: Rotary) -> Self {
        Self {
            rotary: Some(rotary),
            ..Self::default()
        }
    }

    /// The rotation of q and k, where any pair rotates.
    pub(crate) fn rotation(&self) -> Option<&Rotary> {
        self.rotary.as_ref().filter(|rotary| rotary.rotates())
    }

    /// Whether a call rotates this side's rows.
    pub(crate) fn rotates(&self, side: Side) -> bool {
        self.rotation().is_some() && !(self.k_rotated && side == Side::Key)
    }

    pub(crate) fn validate(
        &self,
        shape: &Shape,
        mask: &Mask,
        [queries, keys]: [Tokens<'_>; 2],
    ) -> Result<()> {
        let count = |what, positions: &Positions, side: Tokens<'_>| match positions {
            Positions::Host(p) => {
                Error::check_values(what, p.len(), side.count())?;
                check_reach(what, p)
            }
            Positions::Device => check_tokens(what, side.count()),
            Positions::Index => Ok(()),
        };
        count("q_positions", &self.q_positions, queries)?;
        count("k_positions", &self.k_positions, keys)?;
        self.validate_given()?;
        self.validate_within()?;
        let Some(rotary) = &self.rotary else {
            return match self.k_rotated {
                true => Err(Error::RotatedKeys),
                false => Ok(()),
            };
        };
        rotary.validate()?;
        if rotary.head_dim != shape.head_dim {
            let allowed = format!("the problem's head_dim, {}", shape.head_dim);
            return Err(Error::size(
                "the rotary scheme's head_dim",
                rotary.head_dim,
                allowed,
            ));
        }
        if self.rows_given {
            return Ok(());
        }
        let known = self.known_range(shape, mask);
        match (&self.range, known) {
            (Some(range), known) => {
                let held =
                    known.is_none_or(|k| range.contains(k.start()) && range.contains(k.end()));
                let bounds = || (*range.start(), *range.end());
                if range.is_empty() || !held {
                    let (start, end) = bounds();
                    return Err(Error::Positions {
                        start,
                        end,
                        allowed: "an ordered range that holds every position of the call".into(),
                    });
                }
                Ok(())
            }
            (None, Some(_)) => Ok(()),
            (None, None) => Err(Error::Unstated),
        }
    }

    /// Positions that count within a ring are nobody else's.
    fn validate_within(&self) -> Result<()> {
        let given = [&self.q_positions, &self.k_positions];
        let reason = if !self.within_cache {
            return Ok(());
        } else if self.k_rotated || self.rows_given {
            "keys that are rotated already cannot move; give them unrotated"
        } else if given.iter().any(|p| **p != Positions::Index) {
            "positions are given per token as well; leave one of the two out"
        } else {
            return Ok(());
        };
        Err(Error::WithinCache { reason })
    }

    /// Rows that are given leave nothing to a table, and tell nothing of keys.
    fn validate_given(&self) -> Result<()> {
        if !self.rows_given {
            return Ok(());
        }
        let reason = if self.rotation().is_none() {
            "nothing is rotated; state Position::rotary"
        } else if !self.k_rotated {
            "keys would need rows too; give rotated ones and state Position::k_rotated"
        } else if self.range.is_some() || self.length.is_some() {
            "there is no table that Position::range or Position::length could shape; leave them out"
        } else {
            return Ok(());
        };
        Err(Error::GivenRows { reason })
    }

    /// The smallest and largest position of a call, where the host knows them all.
    pub fn known_range(&self, shape: &Shape, mask: &Mask) -> Option<RangeInclusive<i32>> {
        let bounds = |p: &[i32]| Some((i64::from(*p.iter().min()?), i64::from(*p.iter().max()?)));
        let none = Some((0, 0));
        let q = match &self.q_positions {
            Positions::Device => return None,
            Positions::Host(p) => bounds(p).or(none)?,
            Positions::Index => {
                let (low, high) = match &mask.q_offset {
                    Offsets::Device => return None,
                    Offsets::Host(offsets) => bounds(offsets).or(none)?,
                    // The same for every batch, of which there may be billions.
                    Offsets::BottomRight => [mask.offset(shape, 0)?; 2].into(),
                };
                (low, high + i64::from(shape.q_len.max(1)) - 1)
            }
        };
        let k = match &self.k_positions {
            Positions::Device => return None,
            Positions::Host(p) => bounds(p).or(none)?,
            Positions::Index => (0, i64::from(shape.kv_len.max(1)) - 1),
        };
        let position = |x: i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        Some(position(q.0.min(k.0))..=position(q.1.max(k.1)))
    }

    /// The context length for kinds that depend on it.
    pub fn length(&self, range: &RangeInclusive<i32>) -> u32 {
        self.length
            .unwrap_or_else(|| (*range.end()).max(0) as u32 + 1)
    }
}

/// Refuses more positions than shaders can index.
pub(crate) fn check_count(what: &'static str, batch: u32, len: u32) -> Result<()> {
    check_tokens(what, tokens(batch, len))
}

/// The same of so many tokens.
pub(crate) fn check_tokens(what: &'static str, end: u64) -> Result<()> {
    if end > u64::from(u32::MAX) {
        let end = Some(end);
        return Err(Error::Extent { what, end });
    }
    Ok(())
}

fn check_reach(what: &'static str, positions: &[i32]) -> Result<()> {
    let far = |p: &i32| p.unsigned_abs() > MAX_POSITION.unsigned_abs();
    match positions.iter().position(far) {
        Some(index) => Err(Error::Element {
            what,
            index,
            actual: positions[index].into(),
            allowed: format!("-{MAX_POSITION} to {MAX_POSITION}"),
        }),
        None => Ok(()),
    }
}

//! Cosines and sines of a range of positions, as the shaders read them.

use std::ops::{Range, RangeInclusive};

use super::Rotary;
use crate::error::{Error, Result};

/// Whose rows a table rotates: they differ with xPos only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The rows of queries.
    Query,
    /// The rows of keys, which differ under xPos.
    Key,
}

/// What [`Table::grow`] did, so that no more than needed is uploaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The range was held already.
    Kept,
    /// Rows were added; those there before are the same.
    Extended,
    /// The longer context has other frequencies: every row is new, and keys rotated before are void.
    Rebuilt,
}

/// `[position][pair]` of (m·cos pθ, m·sin pθ) in f32, from the first position of the range to the last, m the
/// attention factor. Angles stay in f64 up to the cosine, which reduces them modulo 2π; WGSL promises its own only to
/// 2⁻¹¹ inside of [−π, π].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Table {
    rotary: Rotary,
    inv_freq: Vec<f64>,
    positions: RangeInclusive<i32>,
    query: Vec<[f32; 2]>,
    /// Only where keys rotate differently from queries (xPos).
    key: Option<Vec<[f32; 2]>>,
}

impl Table {
    /// The rows of `positions` (negative is legal) for a context of `length` tokens.
    pub fn new(rotary: &Rotary, positions: RangeInclusive<i32>, length: u32) -> Result<Self> {
        let inv_freq = rotary.inv_freq(length)?;
        check_range(rotary, &positions)?;
        let mut table = Self {
            rotary: rotary.clone(),
            inv_freq,
            positions,
            query: Vec::new(),
            key: None,
        };
        let all = half_open(&table.positions);
        table.query = table.rows(all.clone(), Side::Query);
        table.key = rotary.xpos.map(|_| table.rows(all, Side::Key));
        Ok(table)
    }

    /// Makes the table hold `positions` too, for a context that is now `length` tokens long. The range becomes the
    /// smallest that holds both; rows are added at either end, or all made anew where the frequencies depend on length.
    pub fn grow(&mut self, positions: RangeInclusive<i32>, length: u32) -> Result<Growth> {
        // A range that runs backwards is none, not the one between its ends.
        check_range(&self.rotary, &positions)?;
        let (start, end) = (*self.positions.start(), *self.positions.end());
        let wanted = start.min(*positions.start())..=end.max(*positions.end());
        if self.rotary.depends_on_length() && self.rotary.inv_freq(length)? != self.inv_freq {
            *self = Self::new(&self.rotary, wanted, length)?;
            return Ok(Growth::Rebuilt);
        }
        if wanted == self.positions {
            return Ok(Growth::Kept);
        }
        check_range(&self.rotary, &wanted)?;
        self.extend(wanted);
        Ok(Growth::Extended)
    }

    fn extend(&mut self, wanted: RangeInclusive<i32>) {
        let (held, all) = (half_open(&self.positions), half_open(&wanted));
        let sides: &[Side] = if self.is_split() {
            &[Side::Query, Side::Key]
        } else {
            &[Side::Query]
        };
        for &side in sides {
            let before = self.rows(all.start..held.start, side);
            let after = self.rows(held.end..all.end, side);
            let rows = match (side, &mut self.key) {
                (Side::Key, Some(key)) => key,
                (Side::Query, _) | (Side::Key, None) => &mut self.query,
            };
            rows.splice(0..0, before);
            rows.extend(after);
        }
        self.positions = wanted;
    }

    fn rows(&self, positions: Range<i64>, side: Side) -> Vec<[f32; 2]> {
        let (precision, m) = (self.rotary.precision, self.rotary.attention_factor());
        let (rates, centre) = match self.rotary.xpos {
            Some(xpos) => (xpos.rates(self.pairs()), f64::from(xpos.centre)),
            None => (vec![0.0; self.inv_freq.len()], 0.0),
        };
        let direction = match side {
            Side::Query => 1.0,
            Side::Key => -1.0,
        };
        let entry = |p: f64, theta: f64, rate: f64| {
            let (sin, cos) = precision.round(precision.round(p) * theta).sin_cos();
            let m = m * (direction * rate * (p - centre)).exp();
            [(m * cos) as f32, (m * sin) as f32]
        };
        let pairs = || self.inv_freq.iter().zip(&rates);
        positions
            .flat_map(|p| pairs().map(move |(&theta, &rate)| (p as f64, theta, rate)))
            .map(|(p, theta, rate)| entry(p, theta, rate))
            .collect()
    }

    /// The positions held.
    pub fn positions(&self) -> RangeInclusive<i32> {
        self.positions.clone()
    }

    /// Pairs a row.
    pub fn pairs(&self) -> u32 {
        self.rotary.pairs()
    }

    /// Every row of one side, `[position][pair]` of (cos, sin).
    pub fn entries(&self, side: Side) -> &[[f32; 2]] {
        match (side, &self.key) {
            (Side::Key, Some(key)) => key,
            (Side::Query, _) | (Side::Key, None) => &self.query,
        }
    }

    /// True where queries and keys read different rows.
    pub fn is_split(&self) -> bool {
        self.key.is_some()
    }

    /// The row of one position, or `None` outside of the range.
    pub fn row(&self, position: i32, side: Side) -> Option<&[[f32; 2]]> {
        let index = i64::from(position) - i64::from(*self.positions.start());
        let pairs = self.pairs() as usize;
        let begin = usize::try_from(index).ok()?.checked_mul(pairs)?;
        self.entries(side).get(begin..begin + pairs)
    }

    /// Refuses positions of the host that this table does not hold; `what` names the operand.
    pub fn check(&self, what: &'static str, positions: &[i32]) -> Result<()> {
        match positions.iter().position(|p| !self.positions.contains(p)) {
            Some(index) => Err(Error::Element {
                what,
                index,
                actual: i64::from(positions[index]),
                allowed: format!(
                    "{} to {}, the stated range; state a wider one",
                    self.positions.start(),
                    self.positions.end()
                ),
            }),
            None => Ok(()),
        }
    }
}

fn half_open(positions: &RangeInclusive<i32>) -> Range<i64> {
    i64::from(*positions.start())..i64::from(*positions.end()) + 1
}

/// Refuses a range that is empty, too long to index in a shader, or too far from the centre of xPos.
pub(crate) fn check_range(rotary: &Rotary, positions: &RangeInclusive<i32>) -> Result<()> {
    let (start, end) = (*positions.start(), *positions.end());
    let sides = if rotary.xpos.is_some() { 2 } else { 1 };
    let most = u64::from(u32::MAX / (2 * sides * rotary.pairs()));
    if positions.is_empty() || u64::from(end.abs_diff(start)) >= most {
        return Err(Error::Positions {
            start,
            end,
            allowed: format!("an ordered range of at most {most} positions"),
        });
    }
    check_xpos(rotary, positions)
}

/// Refuses positions that are too far from the centre of xPos.
pub(crate) fn check_xpos(rotary: &Rotary, positions: &RangeInclusive<i32>) -> Result<()> {
    let (start, end) = (*positions.start(), *positions.end());
    match rotary.xpos.map(|xpos| xpos.reach()) {
        Some(held) if !held.contains(&start.into()) || !held.contains(&end.into()) => {
            Err(Error::Positions {
                start,
                end,
                allowed: format!(
                    "inside of {} to {}, where xPos stays in f32; move its centre",
                    held.start(),
                    held.end()
                ),
            })
        }
        _ => Ok(()),
    }
}

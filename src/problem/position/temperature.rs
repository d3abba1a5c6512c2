//! A query's temperature by its position (Llama 4, Mistral): later queries look more sharply.

use std::ops::RangeInclusive;

use super::MAX_POSITION;
use super::within::check_within;
use crate::error::{Error, Result};
use crate::problem::MAX_LEN;

/// Largest a: its logarithm is at most 22, so τ leaves a score its room in f32, see
/// [`MAX_SCALE`](crate::problem::MAX_SCALE).
const MAX_SCALE: f64 = 1e6;

/// τ(p) = 1 + a·ln(1 + ⌊(p + offset)/F⌋), a factor on the scores of the query at p, applied after the rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Temperature {
    /// a, 0.1 in the published models.
    pub scale: f64,
    /// F, positions per step; 8192 in Llama 4.
    pub floor: u32,
    /// 1 in Llama 4, 0 in Mistral's models.
    pub offset: u32,
}

setters! {
    Temperature {
        with_scale(scale: f64);
        with_floor(floor: u32);
        with_offset(offset: u32);
    }
}

impl Temperature {
    /// `scale` per logarithm of steps of `floor` positions, without an offset.
    pub const fn new(scale: f64, floor: u32) -> Self {
        Self {
            scale,
            floor,
            offset: 0,
        }
    }

    /// τ at one position; 1 where p + offset is negative. A floor of 0, which no problem may have, counts as 1.
    pub fn at(&self, position: i32) -> f64 {
        let p = (i64::from(position) + i64::from(self.offset)).max(0);
        let steps = p / i64::from(self.floor.max(1));
        1.0 + self.scale * (steps as f64).ln_1p()
    }

    /// τ for each position of a range.
    pub fn table(&self, positions: RangeInclusive<i32>) -> Result<Vec<f32>> {
        self.validate()?;
        let (start, end) = (*positions.start(), *positions.end());
        if end.abs_diff(start) >= MAX_LEN {
            let allowed = format!("at most {MAX_LEN} positions");
            return Err(Error::Positions {
                start,
                end,
                allowed,
            });
        }
        Ok(positions.map(|p| self.at(p) as f32).collect())
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.floor == 0 {
            return Err(Error::size("temperature floor", self.floor, "at least 1"));
        }
        let most = MAX_POSITION as u32;
        if self.offset > most {
            let allowed = format!("at most {most}");
            return Err(Error::size("temperature offset", self.offset, allowed));
        }
        let allowed = "a number above 0, at most 1e6";
        check_within("temperature scale", self.scale, 0.0, MAX_SCALE, allowed)
    }
}

//! Llama 3.1's frequencies: short wavelengths kept, long ones interpolated, a smooth passage between.

use std::f64::consts::TAU;

use super::{MAX_FACTOR, Powers, check_factor, check_original, check_turns};
use crate::error::{Error, Result};

/// The parameters of `rope_type` "llama3".
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Llama3 {
    /// s, the stretch of the slow pairs.
    pub factor: f64,
    /// Pairs of fewer turns than this in the original context are interpolated.
    pub low_freq_factor: f64,
    /// Pairs of more turns than this in the original context are kept; where it equals the other there is no passage
    /// between, but a step (Llama 4).
    pub high_freq_factor: f64,
    /// L0, the original training length in tokens.
    pub original: u32,
}

setters! {
    Llama3 {
        with_factor(factor: f64);
        with_low_freq_factor(low_freq_factor: f64);
        with_high_freq_factor(high_freq_factor: f64);
        with_original(original: u32);
    }
}

impl Llama3 {
    /// A stretch of `factor` from `original` tokens, with Llama 3.1's passage from 1 to 4 turns.
    pub const fn new(factor: f64, original: u32) -> Self {
        Self {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original,
        }
    }

    pub(super) fn inv_freq(&self, powers: &Powers) -> Vec<f64> {
        let r = |x| powers.precision.round(x);
        let stretch = |theta: f64| {
            let turns = r(f64::from(self.original) / r(r(TAU) / theta));
            // u: 0 where a pair is interpolated, 1 where it is kept.
            let u = self.kept(turns, r);
            let interpolated = r(r(r(1.0 - u) * theta) / self.factor);
            r(interpolated + r(u * theta))
        };
        powers.inverses().into_iter().map(stretch).collect()
    }

    fn kept(&self, turns: f64, r: impl Fn(f64) -> f64) -> f64 {
        let span = r(self.high_freq_factor - self.low_freq_factor);
        if span > 0.0 {
            return r(r(turns - self.low_freq_factor) / span).clamp(0.0, 1.0);
        }
        f64::from(u8::from(turns >= self.low_freq_factor))
    }

    pub(super) fn validate(&self) -> Result<()> {
        let (low, high) = (self.low_freq_factor, self.high_freq_factor);
        check_factor(self.factor)?;
        check_turns("low_freq_factor", low)?;
        if !(low..=MAX_FACTOR).contains(&high) {
            let allowed = "a number of at least low_freq_factor, at most 1e6";
            return Err(Error::number("high_freq_factor", high as f32, allowed));
        }
        check_original(self.original, 1)
    }
}

//! YaRN (arXiv 2309.00071): fast pairs kept, slow pairs interpolated, a ramp between, and warmer logits.
//!
//! The paper writes the ramp in turns per context; every implementation ramps in the pair's index, and so does this.

use std::f64::consts::TAU;

use super::{
    MAX_FACTOR, Powers, check_attention_factor, check_factor, check_original, check_turns,
    check_within,
};
use crate::error::{Error, Result};

/// The parameters of `rope_type` "yarn".
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Yarn {
    /// s, the stretch of the slow pairs.
    pub factor: f64,
    /// L0, the original training length in tokens.
    pub original: u32,
    /// Turns in the original context from which a pair is kept.
    pub beta_fast: f64,
    /// Turns in the original context below which a pair is interpolated.
    pub beta_slow: f64,
    /// Whether the ramp begins and ends at whole pairs.
    pub truncate: bool,
    /// DeepSeek's k for [`mscale`], used where both are given.
    pub mscale: Option<f64>,
    /// The k that `mscale` is divided by.
    pub mscale_all_dim: Option<f64>,
    /// Whether the model multiplies its softmax scale by `mscale(factor, mscale_all_dim)²`, as DeepSeek and what took
    /// over its latent attention do, and others (Ministral) do not: see
    /// [`Rotary::softmax_factor`](crate::problem::position::Rotary::softmax_factor).
    pub scales_softmax: bool,
    /// Takes the place of every computed factor.
    pub attention_factor: Option<f64>,
}

setters! {
    Yarn {
        with_factor(factor: f64);
        with_original(original: u32);
        with_beta_fast(beta_fast: f64);
        with_beta_slow(beta_slow: f64);
        with_truncate(truncate: bool);
        with_mscale(mscale?: f64);
        with_mscale_all_dim(mscale_all_dim?: f64);
        with_scales_softmax(scales_softmax: bool);
        with_attention_factor(attention_factor?: f64);
    }
}

impl Yarn {
    /// The paper's settings: β_fast 32, β_slow 1, whole pairs, attention factor 0.1·ln s + 1.
    pub fn new(factor: f64, original: u32) -> Self {
        Self {
            factor,
            original,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            mscale: None,
            mscale_all_dim: None,
            scales_softmax: false,
            attention_factor: None,
        }
    }

    /// (1 − γ_i)·θ_i + γ_i·θ_i/s.
    pub(super) fn inv_freq(&self, powers: &Powers) -> Vec<f64> {
        let r = |x| powers.precision.round(x);
        let (low, high) = self.ramp(powers);
        let blend = |(i, power): (usize, &f64)| {
            let gamma = r(r(i as f64 - r(low)) / r(high - low)).clamp(0.0, 1.0);
            let kept = r(1.0 / power);
            let interpolated = r(1.0 / r(r(self.factor) * power));
            let share = r(1.0 - gamma);
            r(r(interpolated * r(1.0 - share)) + r(kept * share))
        };
        powers.values.iter().enumerate().map(blend).collect()
    }

    /// The pair indices at which the ramp begins and ends.
    fn ramp(&self, powers: &Powers) -> (f64, f64) {
        // c(turns): the pair whose wavelength fits that many times into L0.
        let l0 = f64::from(self.original);
        let pair = |turns: f64| powers.dim * (l0 / (TAU * turns)).ln() / (2.0 * powers.base.ln());
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(powers.dim - 1.0));
        // Never a ramp of width 0.
        (low, if low == high { high + 0.001 } else { high })
    }

    pub(super) fn attention_factor(&self) -> f64 {
        let computed = match (self.mscale, self.mscale_all_dim) {
            (Some(k), Some(all)) => mscale(self.factor, k) / mscale(self.factor, all),
            _ => mscale(self.factor, 1.0),
        };
        self.attention_factor.unwrap_or(computed)
    }

    pub(super) fn softmax_factor(&self) -> f64 {
        match self.mscale_all_dim {
            Some(k) if self.scales_softmax => mscale(self.factor, k).powi(2),
            _ => 1.0,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let (fast, slow) = (self.beta_fast, self.beta_slow);
        check_factor(self.factor)?;
        check_original(self.original, 1)?;
        check_turns("beta_slow", slow)?;
        let allowed = "a number above beta_slow, at most 1e6";
        check_within("beta_fast", fast, slow, MAX_FACTOR, allowed)?;
        check_mscale("mscale", self.mscale)?;
        check_mscale("mscale_all_dim", self.mscale_all_dim)?;
        self.attention_factor.map_or(Ok(()), check_attention_factor)
    }
}

fn check_mscale(what: &'static str, k: Option<f64>) -> Result<()> {
    match k {
        Some(k) if !(0.0..=1000.0).contains(&k) => {
            let allowed = "a number of at least 0, at most 1000";
            Err(Error::number(what, k as f32, allowed))
        }
        _ => Ok(()),
    }
}

/// m(s, k) = 0.1·k·ln s + 1, and 1 without a stretch.
pub fn mscale(factor: f64, k: f64) -> f64 {
    0.1 * k * factor.max(1.0).ln() + 1.0
}

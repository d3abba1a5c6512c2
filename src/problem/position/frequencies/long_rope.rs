//! LongRoPE (arXiv 2402.13753): a searched divisor for each pair, one list for short contexts and one for long.

use super::{FASTEST, Powers, check_attention_factor, check_factor, check_original, check_pairs};
use crate::error::{Error, Result};

/// The parameters of `rope_type` "longrope".
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LongRope {
    /// λ_i, one per pair, up to `original` tokens.
    pub short_factor: Vec<f64>,
    /// λ_i, one per pair, beyond `original` tokens.
    pub long_factor: Vec<f64>,
    /// s, the whole stretch: trained length over original length.
    pub factor: f64,
    /// L0, the original training length in tokens.
    pub original: u32,
    /// Takes the place of √(1 + ln s / ln L0).
    pub attention_factor: Option<f64>,
}

setters! {
    LongRope {
        with_short_factor(short_factor: Vec<f64>);
        with_long_factor(long_factor: Vec<f64>);
        with_factor(factor: f64);
        with_original(original: u32);
        with_attention_factor(attention_factor?: f64);
    }
}

impl LongRope {
    /// A stretch of `factor` from `original` tokens by these two lists, with the paper's attention factor.
    pub const fn new(
        short_factor: Vec<f64>,
        long_factor: Vec<f64>,
        factor: f64,
        original: u32,
    ) -> Self {
        Self {
            short_factor,
            long_factor,
            factor,
            original,
            attention_factor: None,
        }
    }

    /// θ_i / λ_i.
    pub(super) fn inv_freq(&self, powers: &Powers, length: u32) -> Vec<f64> {
        let r = |x| powers.precision.round(x);
        let lambdas = if length > self.original {
            &self.long_factor
        } else {
            &self.short_factor
        };
        let pairs = lambdas.iter().zip(&powers.values);
        pairs.map(|(l, power)| r(1.0 / r(r(*l) * power))).collect()
    }

    pub(super) fn attention_factor(&self) -> f64 {
        let l0 = f64::from(self.original);
        let of_paper = || (1.0 + self.factor.ln() / l0.ln()).sqrt();
        self.attention_factor.unwrap_or_else(of_paper)
    }

    pub(super) fn validate(&self, pairs: usize) -> Result<()> {
        check_divisors("short_factor", &self.short_factor, pairs)?;
        check_divisors("long_factor", &self.long_factor, pairs)?;
        check_factor(self.factor)?;
        // ln L0 divides.
        check_original(self.original, 2)?;
        self.attention_factor.map_or(Ok(()), check_attention_factor)
    }
}

fn check_divisors(what: &'static str, list: &[f64], pairs: usize) -> Result<()> {
    check_pairs(what, list, pairs)?;
    let fits = |x: &f64| x.is_finite() && *x >= 1.0 / FASTEST;
    match list.iter().find(|x| !fits(x)) {
        Some(&x) => Err(Error::number(
            what,
            x as f32,
            "finite numbers of at least 1/1024",
        )),
        None => Ok(()),
    }
}

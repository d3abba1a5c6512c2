//! The frequencies of each kind of RoPE. Formulas are computed in f64, or rounded after every operation to f32 for
//! [`Precision::AsTrained`](super::Precision).

mod llama3;
mod long_rope;
mod yarn;

pub use llama3::Llama3;
pub use long_rope::LongRope;
pub use yarn::{Yarn, mscale};

use crate::error::{Error, Result};

use super::rope::{Precision, Rotary};
use super::within::{check_attention_factor, check_fraction, check_within};

/// How a model's frequencies were stretched beyond its training length; `factor` is the stretch s ≥ 1.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum RopeKind {
    /// θ_i = b^(−2i/d).
    #[default]
    Default,
    /// Position interpolation: θ_i / s (arXiv 2306.15595).
    Linear {
        /// s, the extension of the context, at least 1.
        factor: f64,
    },
    /// θ from the base b·s^(d/(d−2)): fast pairs are kept, the slowest is interpolated (arXiv 2309.00071, section 3.1).
    NtkAware {
        /// s, the extension of the context, at least 1.
        factor: f64,
    },
    /// NTK-aware with the stretch that the current length needs: the base is b·(s·T/L0 − (s − 1))^(d/(d−2)) with
    /// T = max(length, L0), plain RoPE up to L0 = `original` tokens.
    DynamicNtk {
        /// s, the extension of the context, at least 1.
        factor: f64,
        /// L0, the trained context length.
        original: u32,
    },
    /// YaRN (2309.00071): slow pairs are interpolated, fast ones kept, scores sharpened.
    Yarn(Yarn),
    /// LongRoPE (2402.13753): a searched factor per pair.
    LongRope(LongRope),
    /// Llama 3.1's ramp between kept and interpolated pairs.
    Llama3(Llama3),
    /// Partial rotary with the exponents of the full dimension: the first ⌊fraction·d/2⌋ pairs rotate at θ_i / s,
    /// the others stand still. The rotary dimension stays the whole head.
    Proportional {
        /// s, the extension of the context, at least 1.
        factor: f64,
        /// The share of pairs that rotate.
        fraction: f64,
    },
    /// No pair rotates: layers without positions (NoPE), whose queries may still have a temperature.
    Nope,
    /// The caller's own list, one θ per pair, with a factor on cosine and sine (1 for none).
    Custom {
        /// θ_i of each pair.
        inv_freq: Vec<f64>,
        /// The factor on cosines and sines.
        attention_factor: f64,
    },
}

impl RopeKind {
    pub(super) fn inv_freq(&self, rotary: &Rotary, length: u32) -> Vec<f64> {
        let precision = rotary.precision;
        let plain = Powers::new(rotary, rotary.base);
        match self {
            Self::Default => plain.inverses(),
            Self::Linear { factor } => divided(plain.inverses(), *factor, precision),
            Self::NtkAware { factor } => Powers::ntk(rotary, *factor).inverses(),
            Self::DynamicNtk { factor, original } => {
                let turns = f64::from(length.max(*original)) / f64::from(*original);
                Powers::ntk(rotary, factor * turns - (factor - 1.0)).inverses()
            }
            Self::Yarn(yarn) => yarn.inv_freq(&plain),
            Self::LongRope(long) => long.inv_freq(&plain, length),
            Self::Llama3(llama) => llama.inv_freq(&plain),
            Self::Proportional { factor, fraction } => {
                let rotating = (fraction * f64::from(rotary.dim) / 2.0) as usize;
                let mut inv_freq = divided(plain.inverses(), *factor, precision);
                inv_freq[rotating..].fill(0.0);
                inv_freq
            }
            Self::Nope => vec![0.0; rotary.pairs() as usize],
            Self::Custom { inv_freq, .. } => inv_freq.iter().map(|&x| precision.round(x)).collect(),
        }
    }

    pub(super) fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.attention_factor(),
            Self::LongRope(long) => long.attention_factor(),
            Self::Custom {
                attention_factor, ..
            } => *attention_factor,
            Self::Default
            | Self::Linear { .. }
            | Self::NtkAware { .. }
            | Self::DynamicNtk { .. }
            | Self::Llama3(_)
            | Self::Proportional { .. }
            | Self::Nope => 1.0,
        }
    }

    pub(super) fn softmax_factor(&self) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.softmax_factor(),
            _ => 1.0,
        }
    }

    /// The name, transformers' where it has one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Linear { .. } => "linear",
            Self::NtkAware { .. } => "ntk",
            Self::DynamicNtk { .. } => "dynamic",
            Self::Yarn(_) => "yarn",
            Self::LongRope(_) => "longrope",
            Self::Llama3(_) => "llama3",
            Self::Proportional { .. } => "proportional",
            Self::Nope => "nope",
            Self::Custom { .. } => "custom",
        }
    }

    /// s, the stretch of the context, where the kind has one.
    pub fn factor(&self) -> Option<f64> {
        match self {
            Self::Linear { factor }
            | Self::NtkAware { factor }
            | Self::DynamicNtk { factor, .. }
            | Self::Proportional { factor, .. } => Some(*factor),
            Self::Yarn(yarn) => Some(yarn.factor),
            Self::LongRope(long) => Some(long.factor),
            Self::Llama3(llama) => Some(llama.factor),
            Self::Default | Self::Nope | Self::Custom { .. } => None,
        }
    }

    pub(super) fn depends_on_length(&self) -> bool {
        matches!(self, Self::DynamicNtk { .. } | Self::LongRope(_))
    }

    /// `dim` is the rotary dimension d.
    pub(super) fn validate(&self, dim: u32) -> Result<()> {
        let pairs = dim as usize / 2;
        match self {
            Self::Default | Self::Nope => Ok(()),
            Self::Linear { factor } => check_factor(*factor),
            Self::NtkAware { factor } => check_ntk(*factor, dim),
            Self::DynamicNtk { factor, original } => {
                check_ntk(*factor, dim)?;
                check_original(*original, 1)
            }
            Self::Yarn(yarn) => yarn.validate(),
            Self::LongRope(long) => long.validate(pairs),
            Self::Llama3(llama) => llama.validate(),
            Self::Proportional { factor, fraction } => {
                check_factor(*factor)?;
                check_fraction(*fraction)
            }
            Self::Custom {
                inv_freq,
                attention_factor,
            } => {
                check_custom(inv_freq, pairs)?;
                check_attention_factor(*attention_factor)
            }
        }
    }
}

/// b^(2i/d) for each pair i: one turn of pair i takes 2π times as many positions.
pub(super) struct Powers {
    pub base: f64,
    /// d.
    pub dim: f64,
    pub values: Vec<f64>,
    pub precision: Precision,
}

impl Powers {
    fn new(rotary: &Rotary, base: f64) -> Self {
        let precision = rotary.precision;
        let r = |x| precision.round(x);
        let dim = f64::from(rotary.dim);
        let power = |i| r(r(base).powf(r(f64::from(2 * i) / dim)));
        Self {
            base,
            dim,
            values: (0..rotary.pairs()).map(power).collect(),
            precision,
        }
    }

    /// Those of the base that a stretch by `factor` asks for.
    fn ntk(rotary: &Rotary, factor: f64) -> Self {
        let d = f64::from(rotary.dim);
        Self::new(rotary, rotary.base * factor.powf(d / (d - 2.0)))
    }

    /// θ_i of plain RoPE.
    pub fn inverses(&self) -> Vec<f64> {
        let inverse = |&x: &f64| self.precision.round(1.0 / x);
        self.values.iter().map(inverse).collect()
    }
}

fn divided(mut inv_freq: Vec<f64>, factor: f64, precision: Precision) -> Vec<f64> {
    for x in &mut inv_freq {
        *x = precision.round(*x / precision.round(factor));
    }
    inv_freq
}

fn check_ntk(factor: f64, dim: u32) -> Result<()> {
    if dim < 4 {
        let allowed = "an even number of at least 4 for NTK kinds";
        return Err(Error::size("rotary dimension", dim, allowed));
    }
    check_factor(factor)
}

/// Largest stretch of a context, and number of turns in one. s·T/L0 − (s − 1) stays exact to 10⁻¹⁰ in f64, where 10¹⁹
/// would cancel to a base of 0, and all that is computed of them stays in f32.
const MAX_FACTOR: f64 = 1e6;

fn check_factor(factor: f64) -> Result<()> {
    if (1.0..=MAX_FACTOR).contains(&factor) {
        Ok(())
    } else {
        let allowed = "a number of at least 1, at most 1e6";
        Err(Error::number("factor", factor as f32, allowed))
    }
}

/// Numbers of turns.
fn check_turns(what: &'static str, turns: f64) -> Result<()> {
    let allowed = "a number above 1e-6, at most 1e6";
    check_within(what, turns, 1e-6, MAX_FACTOR, allowed)
}

fn check_original(original: u32, least: u32) -> Result<()> {
    if original >= least {
        Ok(())
    } else {
        Err(Error::size(
            "original_max_position_embeddings",
            original,
            format!("at least {least}"),
        ))
    }
}

/// Fastest frequency in radians a position: up to it an f64 angle stays exact enough at positions of millions.
const FASTEST: f64 = 1024.0;

fn check_custom(inv_freq: &[f64], pairs: usize) -> Result<()> {
    check_pairs("inv_freq", inv_freq, pairs)?;
    let fits = |x: &f64| x.abs() <= FASTEST;
    match inv_freq.iter().find(|x| !fits(x)) {
        Some(&x) => Err(Error::number("inv_freq", x as f32, "-1024 to 1024")),
        None => Ok(()),
    }
}

fn check_pairs(what: &'static str, list: &[f64], pairs: usize) -> Result<()> {
    if list.len() == pairs {
        Ok(())
    } else {
        Err(Error::Pairs {
            what,
            actual: list.len(),
            expected: pairs,
        })
    }
}

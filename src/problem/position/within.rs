//! Refuses numbers of a rotation that are out of their range.

use crate::error::{Error, Result};

/// Largest factor on cosines and sines. Both sides of a product have it, so scores have its square: see
/// [`MAX_SCALE`](crate::problem::MAX_SCALE).
const MAX_ATTENTION_FACTOR: f64 = 1000.0;

pub(super) fn check_attention_factor(factor: f64) -> Result<()> {
    let (most, allowed) = (MAX_ATTENTION_FACTOR, "a number above 0, at most 1000");
    check_within("attention_factor", factor, 0.0, most, allowed)
}

/// Refuses what is not above `least` and at most `most`.
pub(super) fn check_within(
    what: &'static str,
    value: f64,
    least: f64,
    most: f64,
    allowed: &'static str,
) -> Result<()> {
    if value > least && value <= most {
        Ok(())
    } else {
        Err(Error::number(what, value as f32, allowed))
    }
}

pub(super) fn check_fraction(fraction: f64) -> Result<()> {
    if fraction > 0.0 && fraction <= 1.0 {
        Ok(())
    } else {
        let allowed = "a number above 0, up to 1";
        Err(Error::number(
            "partial_rotary_factor",
            fraction as f32,
            allowed,
        ))
    }
}

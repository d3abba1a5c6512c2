//! How the values of options are read.

use chat::plain::Stream;

/// The most that an option of tokens takes.
const MOST: usize = 1 << 24;

pub fn above_zero(text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    found.ok_or_else(|| format!("{text:?} is not one; give a whole number from 1 to {MOST}"))
}

/// A power of two.
pub fn page(text: &str) -> Result<u32, String> {
    let is_one = |n: &u32| n.is_power_of_two() && *n <= 1 << 16;
    let found = text.parse().ok().filter(is_one);
    found.ok_or_else(|| format!("{text:?} is not one; give a power of two up to 65536"))
}

/// `F,W`
pub fn stream(text: &str) -> Result<Stream, String> {
    let parts = text.split_once(',').and_then(|(first, window)| {
        let (first, window) = (first.trim().parse().ok()?, window.trim().parse().ok()?);
        Some(Stream { first, window })
    });
    let is_one = |s: &Stream| s.window > 0 && s.first.max(s.window) <= MOST;
    let wanted = format!(
        "{text:?} is not one; give F,W: first tokens from 0 and a window from 1, each up to {MOST}"
    );
    parts.filter(is_one).ok_or(wanted)
}

pub fn count(text: &str) -> Result<usize, String> {
    let most = 63;
    let found = text.parse().ok().filter(|n| *n <= most);
    found.ok_or_else(|| format!("{text:?} is not one; give a whole number from 0 to {most}"))
}

pub fn seed(text: &str) -> Result<u64, String> {
    let wanted = |_| format!("{text:?} is not one; give a whole number from 0");
    text.parse().map_err(wanted)
}

pub fn temperature(text: &str) -> Result<f32, String> {
    let is_one = |x: &f32| *x == 0.0 || (1e-3..=1e3).contains(x);
    let found = text.parse().ok().filter(is_one);
    found.ok_or_else(|| format!("{text:?} is not one; give 0, or a number from 0.001 to 1000"))
}

pub fn probability(text: &str) -> Result<f32, String> {
    let found = text.parse().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    found.ok_or_else(|| format!("{text:?} is not one; give a number above 0, at most 1"))
}

//! How the values of options are read.

/// The most that an option of tokens takes.
const MOST: usize = 1 << 24;

pub fn above_zero(text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    found.ok_or_else(|| format!("{text:?} is not one; give a whole number from 1 to {MOST}"))
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

//! Absolute schemes: tables `[position][channel]` in f32 that are added to embeddings before the first layer.

use crate::error::{Error, Result};

use super::check_count;

/// The sinusoidal table (arXiv 1706.03762, section 3.5) of `len` positions: channel 2i of position p is
/// sin(p · 10000^(−2i/dim)), channel 2i + 1 the cosine.
pub fn sinusoidal(len: u32, dim: u32) -> Result<Vec<f32>> {
    scaled(len, dim, 1.0)
}

/// The sinusoidal table of `len` positions squeezed into the `trained` ones: position p counts as p · trained/len.
/// A context no longer than the trained one is left as it is.
pub fn sinusoidal_scaled(len: u32, dim: u32, trained: u32) -> Result<Vec<f32>> {
    if trained == 0 {
        return Err(Error::size("trained length", trained, "at least 1"));
    }
    let scale = f64::from(trained) / f64::from(len.max(trained));
    scaled(len, dim, scale)
}

fn scaled(len: u32, dim: u32, scale: f64) -> Result<Vec<f32>> {
    check_size(len, dim)?;
    if dim == 0 || !dim.is_multiple_of(2) {
        return Err(Error::size("embedding size", dim, "an even number above 0"));
    }
    let frequency = |i: u32| 10_000f64.powf(-f64::from(2 * i) / f64::from(dim));
    let frequencies: Vec<f64> = (0..dim / 2).map(frequency).collect();
    let row = |p: u32| {
        let position = f64::from(p) * scale;
        let pair = move |&f: &f64| {
            let (sin, cos) = (position * f).sin_cos();
            [sin as f32, cos as f32]
        };
        frequencies.iter().flat_map(pair)
    };
    Ok((0..len).flat_map(row).collect())
}

/// A learned table `[trained][dim]` stretched or shrunk to `len` rows, linearly between neighbours. The first and the
/// last row are kept: row p is read at p · (trained − 1)/(len − 1).
pub fn interpolate(learned: &[f32], dim: u32, len: u32) -> Result<Vec<f32>> {
    let width = dim as usize;
    if width == 0 || learned.is_empty() || !learned.len().is_multiple_of(width) {
        let allowed = format!("a multiple of the embedding size {dim}, above 0");
        return Err(Error::size("learned table", learned.len() as u64, allowed));
    }
    check_size(len, dim)?;
    let rows: Vec<&[f32]> = learned.chunks_exact(width).collect();
    let step = (rows.len() - 1) as f64 / f64::from(len.saturating_sub(1).max(1));
    let row = |p: u32| between(&rows, f64::from(p) * step);
    Ok((0..len).flat_map(row).collect())
}

/// Refuses a table that no shader can index, before there is room for it.
fn check_size(len: u32, dim: u32) -> Result<()> {
    check_count("table", len, dim)
}

fn between(rows: &[&[f32]], at: f64) -> Vec<f32> {
    let last = rows.len() - 1;
    let below = (at as usize).min(last);
    let share = at - below as f64;
    let pairs = rows[below].iter().zip(rows[(below + 1).min(last)]);
    let mix = |(&a, &b)| f64::from(a) * (1.0 - share) + f64::from(b) * share;
    pairs.map(|pair| mix(pair) as f32).collect()
}

/// Refuses positions that a table of `len` rows does not hold; `what` names them.
pub fn check_positions(what: &'static str, positions: &[i32], len: u32) -> Result<()> {
    let held = |&p: &i32| p >= 0 && p.unsigned_abs() < len;
    match positions.iter().position(|p| !held(p)) {
        Some(index) => Err(Error::Element {
            what,
            index,
            actual: i64::from(positions[index]),
            allowed: format!(
                "0 to {}, the rows of the table; interpolate it to a longer one",
                i64::from(len) - 1
            ),
        }),
        None => Ok(()),
    }
}

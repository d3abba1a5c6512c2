//! Rows of k and v with their scales, as [`Element::Int8`] and [`Element::Int4`] lay them out: made and read on the host.
//!
//! How far a stored number x̂ is from x, of a row whose numbers are finite:
//!
//! | element | bits per channel | \|x − x̂\| is at most |
//! | --- | --- | --- |
//! | int8 | 8, and 32 per row | half of scale = max \|x\| / 127 |
//! | int4 | 4, and 32 per 32 channels | half of step = (max x − min x) / 15, and 2⁻¹¹ of \|min x\| + (max x − min x), which f16 rounds away |
//!
//! beside f32's own rounding, 2⁻²² of max \|x\|. Of int8 whose scale would be below 2⁻¹²⁶ every number is 0, and f16 has no
//! steps below 2⁻²⁴: there the error is up to 2⁻²⁰.
//!
//! A row of int8, or a group of int4, that holds a NaN or an infinity reads as NaN in all its channels: what would be
//! lost is not replaced by a number that looks right. So does a group of int4 with a number beyond ±65504, f16's largest.
//!
//! ```
//! use wgpu_attention::{Element, quantize};
//!
//! let rows = [0.5, -1.27, 0.02, 0.0, 1.0, 2.0, 3.0, 4.0]; // two rows of four channels
//! let words = quantize::quantize(Element::Int8, &rows, 4)?;
//! assert_eq!(words.len(), 4); // a scale and four bytes each
//! let stored = quantize::dequantize(Element::Int8, &words, 4)?;
//! assert!((stored[1] + 1.27).abs() < 1e-6 && (stored[2] - 0.02).abs() < 1e-6);
//! # Ok::<(), wgpu_attention::Error>(())
//! ```

mod hadamard;

use half::f16;

use crate::error::{Error, Result};
use crate::problem::{Element, INT4_GROUP, INT4_GROUP_WORDS};

pub use hadamard::hadamard;

/// A scale that no number comes of.
const NAN_SCALE: u32 = 0x7fc0_0000;
/// The same of a scale and a minimum of 16 bits.
const NAN_SCALES: u32 = 0x7e00_7e00;

/// Rows of `dim` channels as words of `element`, one after the other: [`Element::row_elements`] each.
///
/// # Errors
///
/// [`Error::NotQuantized`] for a float type, [`Error::Rows`] where `rows` is no whole number of rows.
pub fn quantize(element: Element, rows: &[f32], dim: u32) -> Result<Vec<u32>> {
    check(element, "rows", rows.len(), dim)?;
    let rows = rows.chunks_exact(dim as usize);
    Ok(match element {
        Element::Int4 => rows.flat_map(int4_row).collect(),
        _ => rows.flat_map(int8_row).collect(),
    })
}

/// The numbers that words of `element` stand for, rows of `dim` channels.
///
/// # Errors
///
/// As [`quantize`], of `words`.
pub fn dequantize(element: Element, words: &[u32], dim: u32) -> Result<Vec<f32>> {
    let row = element.row_elements(dim) / element.per_word() as u32;
    check(element, "words", words.len(), row)?;
    let rows = words.chunks_exact(row as usize);
    Ok(match element {
        Element::Int4 => rows.flat_map(|row| int4_numbers(row, dim)).collect(),
        _ => rows.flat_map(|row| int8_numbers(row, dim)).collect(),
    })
}

fn check(element: Element, what: &'static str, len: usize, row: u32) -> Result<()> {
    if !element.is_quantized() {
        return Err(Error::NotQuantized { element });
    }
    if row == 0 || !len.is_multiple_of(row as usize) {
        return Err(Error::Rows { what, len, row });
    }
    Ok(())
}

fn int8_row(row: &[f32]) -> impl Iterator<Item = u32> + use<'_> {
    let finite = row.iter().all(|x| x.is_finite());
    let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = largest * (1.0 / 127.0);
    let scale = if scale < f32::MIN_POSITIVE {
        0.0
    } else {
        scale
    };
    let inverse = if finite { inverse(scale) } else { 0.0 };
    let number = move |x: &f32| (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    let words = row.chunks(4).map(move |four| {
        let bytes = four.iter().map(|x| u32::from(number(x) as u8));
        bytes
            .enumerate()
            .fold(0, |word, (n, byte)| word | byte << (8 * n))
    });
    let scale = if finite { scale.to_bits() } else { NAN_SCALE };
    std::iter::once(scale).chain(words)
}

fn int8_numbers(row: &[u32], dim: u32) -> impl Iterator<Item = f32> + use<'_> {
    let scale = f32::from_bits(row[0]);
    let bytes = row[1..].iter().flat_map(|word| word.to_le_bytes());
    bytes
        .take(dim as usize)
        .map(move |byte| scale * f32::from(byte as i8))
}

fn int4_row(row: &[f32]) -> impl Iterator<Item = u32> + use<'_> {
    row.chunks(INT4_GROUP as usize).flat_map(int4_group)
}

fn int4_group(group: &[f32]) -> [u32; INT4_GROUP_WORDS as usize] {
    let mut words = [0; INT4_GROUP_WORDS as usize];
    let fits = |x: &f32| x.abs() <= f16::MAX.to_f32();
    if !group.iter().all(fits) {
        words[0] = NAN_SCALES;
        return words;
    }
    let least = group.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = f16::from_f32((largest - least) * (1.0 / 15.0));
    let minimum = f16::from_f32(least);
    words[0] = u32::from(step.to_bits()) | u32::from(minimum.to_bits()) << 16;
    let (inverse, minimum) = (inverse(step.to_f32()), minimum.to_f32());
    for (n, x) in group.iter().enumerate() {
        let number = ((x - minimum) * inverse).round_ties_even().clamp(0.0, 15.0) as u32;
        words[1 + n / 8] |= number << (4 * (n % 8));
    }
    words
}

fn int4_numbers(row: &[u32], dim: u32) -> impl Iterator<Item = f32> + use<'_> {
    let groups = row.chunks_exact(INT4_GROUP_WORDS as usize);
    let numbers = groups.flat_map(|group| {
        let half = |bits: u32| f16::from_bits(bits as u16).to_f32();
        let (step, minimum) = (half(group[0]), half(group[0] >> 16));
        let number = move |n: usize| (group[1 + n / 8] >> (4 * (n % 8))) & 15;
        (0..INT4_GROUP as usize).map(move |n| minimum + step * number(n) as f32)
    });
    numbers.take(dim as usize)
}

/// Of a scale that may be 0.
fn inverse(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

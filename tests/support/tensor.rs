//! How values are stored: elements to bytes, logical tensors into strided buffers and back.

use half::{bf16, f16};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use wgpu_attention::problem::{Element, Layout};
use wgpu_attention::quantize::{dequantize, quantize};

/// What every unwritten byte holds: as f32, f16 and bf16 alike a NaN.
pub const POISON: u8 = 0xFF;

/// Standard normal values, the same for the same seed everywhere.
pub fn normal(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// `x` as `element` stores it.
pub fn round(element: Element, x: f64) -> f64 {
    match element {
        Element::F32 => f64::from(x as f32),
        Element::F16 => f16::from_f64(x).to_f64(),
        Element::BF16 => bf16::from_f64(x).to_f64(),
        _ => unreachable!("{element} is no type that stores number by number"),
    }
}

/// Values as little-endian bytes, without padding.
pub fn encode(element: Element, values: &[f64]) -> Vec<u8> {
    let size = element.bytes(1) as usize;
    let mut bytes = vec![0; values.len() * size];
    for (x, at) in values.iter().zip(bytes.chunks_exact_mut(size)) {
        put(element, *x, at);
    }
    bytes
}

/// The values of little-endian bytes; a trailing part of an element is padding.
pub fn decode(element: Element, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(element.bytes(1) as usize)
        .map(|at| get(element, at))
        .collect()
}

/// `bytes` bytes that nobody wrote yet.
pub fn poisoned(bytes: u64) -> Vec<u8> {
    vec![POISON; bytes as usize]
}

/// Writes a logical contiguous `[B, H, N, dim]` tensor into a strided buffer.
pub fn scatter(
    buffer: &mut [u8],
    element: Element,
    layout: &Layout,
    sizes: [u32; 3],
    values: &[f64],
) {
    for (row, start) in row_starts(layout, sizes).enumerate() {
        let dim = row_dim(values.len(), sizes);
        scatter_row(buffer, element, start, &values[row * dim..][..dim]);
    }
}

/// Reads a logical contiguous `[B, H, N, dim]` tensor out of a strided buffer.
pub fn gather(
    buffer: &[u8],
    element: Element,
    layout: &Layout,
    sizes: [u32; 3],
    dim: u32,
) -> Vec<f64> {
    row_starts(layout, sizes)
        .flat_map(|start| gather_row(buffer, element, start, dim))
        .collect()
}

fn gather_row(buffer: &[u8], element: Element, start: usize, dim: u32) -> Vec<f64> {
    let start = element.bytes(start as u64) as usize;
    let bytes = &buffer[start..][..element.bytes(element.row_elements(dim).into()) as usize];
    if !element.is_quantized() {
        return decode(element, bytes);
    }
    let words = bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned);
    let words: Vec<u32> = words.collect();
    let numbers = dequantize(element, &words, dim).expect("a whole row");
    numbers.into_iter().map(f64::from).collect()
}

/// Every byte of a strided buffer that belongs to none of its rows: what an output must leave as it was.
pub fn outside(
    buffer: &[u8],
    element: Element,
    layout: &Layout,
    sizes: [u32; 3],
    dim: u32,
) -> Vec<u8> {
    let size = element.bytes(1) as usize;
    let mut inside = vec![false; buffer.len()];
    for start in row_starts(layout, sizes) {
        inside[start * size..][..dim as usize * size].fill(true);
    }
    buffer
        .iter()
        .zip(inside)
        .filter_map(|(&byte, inside)| (!inside).then_some(byte))
        .collect()
}

/// The first element of every row, in logical order.
pub fn row_starts(
    layout: &Layout,
    [batch, heads, rows]: [u32; 3],
) -> impl Iterator<Item = usize> + use<> {
    let layout = *layout;
    (0..batch)
        .flat_map(move |b| (0..heads).map(move |h| (b, h)))
        .flat_map(move |(b, h)| (0..rows).map(move |i| layout.index(b, h, i) as usize))
}

fn row_dim(len: usize, sizes: [u32; 3]) -> usize {
    len / sizes.iter().product::<u32>().max(1) as usize
}

/// Writes one row from element `start` on.
pub fn scatter_row(buffer: &mut [u8], element: Element, start: usize, values: &[f64]) {
    if element.is_quantized() {
        let numbers: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let words = quantize(element, &numbers, values.len() as u32).expect("a whole row");
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let start = element.bytes(start as u64) as usize;
        return buffer[start..][..bytes.len()].copy_from_slice(bytes);
    }
    let size = element.bytes(1) as usize;
    for (x, at) in values
        .iter()
        .zip(buffer[start * size..].chunks_exact_mut(size))
    {
        put(element, *x, at);
    }
}

fn put(element: Element, x: f64, at: &mut [u8]) {
    match element {
        Element::F32 => at.copy_from_slice(&(x as f32).to_le_bytes()),
        Element::F16 => at.copy_from_slice(&f16::from_f64(x).to_le_bytes()),
        Element::BF16 => at.copy_from_slice(&bf16::from_f64(x).to_le_bytes()),
        _ => unreachable!("{element} is no type that stores number by number"),
    }
}

fn get(element: Element, at: &[u8]) -> f64 {
    match element {
        Element::F32 => f64::from(f32::from_le_bytes([at[0], at[1], at[2], at[3]])),
        Element::F16 => f16::from_le_bytes([at[0], at[1]]).to_f64(),
        Element::BF16 => bf16::from_le_bytes([at[0], at[1]]).to_f64(),
        _ => unreachable!("{element} is no type that stores number by number"),
    }
}

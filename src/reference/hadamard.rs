//! Walsh–Hadamard rotations by their matrix: H_ij = (−1)^|i ∧ j| / √n, over blocks of the largest power of two n that
//! divides a row.

/// The rows `[.., dim]`, rotated; twice is not at all.
pub fn hadamard(rows: &[f64], dim: u32) -> Vec<f64> {
    let n = 1usize << dim.trailing_zeros();
    let factor = 1.0 / (n as f64).sqrt();
    let entry = |i: usize, j: usize| match (i & j).count_ones() % 2 {
        0 => factor,
        _ => -factor,
    };
    let block = |x: &[f64]| -> Vec<f64> {
        let channel = |j| x.iter().enumerate().map(|(i, x)| entry(i, j) * x).sum();
        (0..x.len()).map(channel).collect()
    };
    rows.chunks_exact(n).flat_map(block).collect()
}

//! Rows rotated by Walsh–Hadamard matrices.

use crate::error::{Error, Result};
use crate::problem::{check_hadamard, hadamard_block};

/// Rotates rows of `dim` channels in place by normalised Walsh–Hadamard matrices, over blocks of the largest power of two
/// n that divides `dim`: y_j = Σ_i (−1)^|i ∧ j| x_i / √n, |·| the bits that are set. Twice is not at all.
///
/// What [`crate::Problem::k_hadamard`] and [`crate::Problem::v_hadamard`] say of k and v: a channel that is larger than
/// the others is spread over its block, and so is the step of [`crate::Element::Int4`] that it would have made coarse for
/// its neighbours (QuaRot, 2404.00456).
///
/// # Errors
///
/// [`Error::Rows`] where `rows` is no whole number of rows, [`Error::OddHadamard`] for an odd `dim`.
pub fn hadamard(rows: &mut [f32], dim: u32) -> Result<()> {
    if dim == 0 || !rows.len().is_multiple_of(dim as usize) {
        return Err(Error::Rows {
            what: "rows",
            len: rows.len(),
            row: dim,
        });
    }
    check_hadamard("hadamard", true, dim)?;
    let n = hadamard_block(dim) as usize;
    rows.chunks_exact_mut(n).for_each(block);
    Ok(())
}

/// Sums and differences of channels 1 apart, 2 apart, …: n·log n of them.
fn block(x: &mut [f32]) {
    let n = x.len();
    for apart in std::iter::successors(Some(1), |apart| Some(2 * apart)).take_while(|&a| a < n) {
        for i in (0..n).filter(|i| i & apart == 0) {
            let (a, b) = (x[i], x[i + apart]);
            (x[i], x[i + apart]) = (a + b, a - b);
        }
    }
    let factor = 1.0 / (n as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= factor);
}

//! Block masks on the host: patterns, algebra, and what is refused.

mod algebra;
mod bad_input;
mod patterns;
mod select;

use wgpu_attention::problem::{BlockGrid, BlockMask};

/// The dense matrix `[batch, heads, Nq, Nk]` that a mask shows.
pub fn dense(mask: &BlockMask) -> Vec<bool> {
    let grid = *mask.grid();
    pairs(&grid)
        .map(|(b, h, i, j)| mask.sees(b, h, i, j))
        .collect()
}

/// Every `(b, h, i, j)` in the order of a dense matrix.
pub fn pairs(grid: &BlockGrid) -> impl Iterator<Item = (u32, u32, u32, u32)> + use<> {
    let grid = *grid;
    let heads = (0..grid.batch).flat_map(move |b| (0..grid.heads).map(move |h| (b, h)));
    heads.flat_map(move |(b, h)| {
        (0..grid.q_len).flat_map(move |i| (0..grid.kv_len).map(move |j| (b, h, i, j)))
    })
}

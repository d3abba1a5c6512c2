//! The operands' values.

use crate::problem::Problem;

use super::row_index;

/// Logical contiguous operands: q `[B, Hq, Nq, D]`, k `[B, Hkv, Nk, D]`, v `[B, Hkv, Nk, Dv]`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Tensors<'a> {
    /// `[B, Hq, Nq, D]`
    pub q: &'a [f64],
    /// `[B, Hkv, Nk, D]`
    pub k: &'a [f64],
    /// `[B, Hkv, Nk, Dv]`
    pub v: &'a [f64],
    /// `[B]`, what lies in the GPU's buffer for [`crate::problem::Lengths::Device`].
    pub kv_lens: Option<&'a [u32]>,
    /// `[B]`, what lies in the GPU's buffer for [`crate::problem::Offsets::Device`].
    pub q_offset: Option<&'a [i32]>,
    /// `[B]`, what lies in the GPU's buffer for [`crate::problem::Prefix::Device`].
    pub prefix: Option<&'a [u32]>,
    /// `[B|1, Hq|1, Nq|1, Nk]`, with its sizes.
    pub bias: Option<Bias<'a>>,
    /// `[Hq]`, what lies in the GPU's buffer for [`crate::problem::Values::Device`]; likewise below.
    pub slopes: Option<&'a [f32]>,
    /// `[Hq]`
    pub sinks: Option<&'a [f32]>,
    /// `[buckets, Hq]`
    pub t5: Option<&'a [f32]>,
    /// `[B, Nq]` and `[B, Nk]`, for [`crate::problem::Positions::Device`].
    pub q_positions: Option<&'a [i32]>,
    /// `[B, Nk]`
    pub k_positions: Option<&'a [i32]>,
    /// `[B, Nq]` and `[B, Nk]`, for [`crate::problem::Segments::Device`].
    pub segments_q: Option<&'a [i32]>,
    /// `[B, Nk]`
    pub segments_k: Option<&'a [i32]>,
    /// The words of [`crate::problem::MaskBits::Device`].
    pub mask: Option<&'a [u32]>,
    /// `[B, Nq, 4]`, for [`crate::problem::Tree::Device`].
    pub tree: Option<&'a [u32]>,
    /// For [`crate::problem::Blocks::Device`].
    pub block_lists: Option<&'a [u32]>,
}

setters! {
    <'a> Tensors<'a> {
        with_q(q: &'a [f64]);
        with_k(k: &'a [f64]);
        with_v(v: &'a [f64]);
        with_kv_lens(kv_lens?: &'a [u32]);
        with_q_offset(q_offset?: &'a [i32]);
        with_prefix(prefix?: &'a [u32]);
        with_bias(bias?: Bias<'a>);
        with_slopes(slopes?: &'a [f32]);
        with_sinks(sinks?: &'a [f32]);
        with_t5(t5?: &'a [f32]);
        with_q_positions(q_positions?: &'a [i32]);
        with_k_positions(k_positions?: &'a [i32]);
        with_segments_q(segments_q?: &'a [i32]);
        with_segments_k(segments_k?: &'a [i32]);
        with_mask(mask?: &'a [u32]);
        with_tree(tree?: &'a [u32]);
        with_block_lists(block_lists?: &'a [u32]);
    }
}

/// A dense bias, broadcast over axes of size 1.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Bias<'a> {
    /// `[batch, heads, rows, Nk]`
    pub values: &'a [f64],
    /// B, or 1 where batches share it.
    pub batch: u32,
    /// Hq, or 1 where heads share it.
    pub heads: u32,
    /// Nq, or 1 where queries share it.
    pub rows: u32,
}

impl<'a> Bias<'a> {
    /// Values `[batch, heads, rows, Nk]`; a size of 1 is shared by all batches, heads or queries.
    pub fn new(values: &'a [f64], [batch, heads, rows]: [u32; 3]) -> Self {
        Self {
            values,
            batch,
            heads,
            rows,
        }
    }
}

impl<'a> Tensors<'a> {
    /// No values on the device side.
    pub fn new(q: &'a [f64], k: &'a [f64], v: &'a [f64]) -> Self {
        Self {
            q,
            k,
            v,
            kv_lens: None,
            q_offset: None,
            prefix: None,
            bias: None,
            slopes: None,
            sinks: None,
            t5: None,
            q_positions: None,
            k_positions: None,
            segments_q: None,
            segments_k: None,
            mask: None,
            tree: None,
            block_lists: None,
        }
    }

    /// q_i `[D]` of query head `h`.
    pub(super) fn query(&self, problem: &Problem, b: u32, h: u32, i: u32) -> &'a [f64] {
        let dim = problem.shape.head_dim as usize;
        &self.q[row_index(problem, b, h, i) * dim..][..dim]
    }

    /// k_j `[D]` as query head `h` reads it.
    pub(super) fn key(&self, problem: &Problem, b: u32, h: u32, j: u32) -> &'a [f64] {
        let dim = problem.shape.head_dim as usize;
        &self.k[key_index(problem, b, h, j) * dim..][..dim]
    }

    /// v_j `[Dv]` as query head `h` reads it.
    pub(super) fn value(&self, problem: &Problem, b: u32, h: u32, j: u32) -> &'a [f64] {
        let dim = problem.shape.value_dim as usize;
        &self.v[key_index(problem, b, h, j) * dim..][..dim]
    }
}

/// The row of k and v that query head `h` reads for key `j`: its KV head is `h / (Hq / Hkv)`.
pub(super) fn key_index(problem: &Problem, b: u32, h: u32, j: u32) -> usize {
    let shape = &problem.shape;
    let kv_head = h / (shape.q_heads / shape.kv_heads);
    (b as usize * shape.kv_heads as usize + kv_head as usize) * shape.kv_len as usize + j as usize
}

//! The uniform of every step: the twin of `shaders/part/params.wgsl`.

use crate::problem::{Layout, MAX_LEN, Problem};

/// Element strides of a tensor, as the shaders add them up (modulo 2³²).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Rows {
    pub start: u32,
    pub batch: u32,
    pub head: u32,
    pub row: u32,
}

impl Rows {
    /// A validated layout (it ends below 2³² elements). A stride of an axis of one may be anything: it is never used.
    pub(super) fn of(layout: &Layout) -> Self {
        Self {
            start: layout.offset as u32,
            batch: layout.batch as u32,
            head: layout.head as u32,
            row: layout.row as u32,
        }
    }

    /// True when every row starts at a multiple of `n` elements, of whatever axes: one of size 1 counts too, whose stride
    /// may be anything.
    pub(super) fn is_aligned(&self, n: u32) -> bool {
        [self.start, self.batch, self.head, self.row]
            .iter()
            .all(|x| x.is_multiple_of(n))
    }

    /// Contiguous rows of `dim`, of which the first is row `begin` of the whole problem.
    pub(super) fn contiguous(heads: u32, rows: u32, dim: u32, begin: u32) -> Self {
        let row = dim;
        Self {
            start: begin.wrapping_mul(row).wrapping_neg(),
            batch: heads * rows * dim,
            head: rows * dim,
            row,
        }
    }
}

/// The parameters of one step. Field by field as in the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Params {
    pub q: Rows,
    pub k: Rows,
    pub v: Rows,
    pub o: Rows,
    pub batch: u32,
    pub q_heads: u32,
    pub group: u32,
    pub q_len: u32,
    pub kv_len: u32,
    pub head_dim: u32,
    pub value_dim: u32,
    pub splits: u32,
    pub q_begin: u32,
    pub q_end: u32,
    pub k_begin: u32,
    pub k_end: u32,
    pub work_begin: u32,
    pub work_end: u32,
    pub q_tiles: u32,
    pub o_split: u32,
    pub lse: Rows,
    pub lse_split: u32,
    pub scale: f32,
    pub softcap: f32,
    pub softcap_inverse: f32,
    pub causal: u32,
    pub prefix: u32,
    pub window_left: u32,
    pub window_right: u32,
    pub first: u32,
    pub lens_at: u32,
    pub offsets_at: u32,
    pub partials_at: u32,
    pub block_side: u32,
    pub block_rows_at: u32,
    pub block_batch: u32,
    pub block_head: u32,
    pub block_columns: u32,
    pub block_tiles_from: u32,
    pub block_bits_at: u32,
    pub segment_keys_at: u32,
    pub segment_queries_at: u32,
    pub segments_q_at: u32,
    pub segments_k_at: u32,
    pub block_capacity: u32,
    pub bias: Rows,
    pub slopes_at: u32,
    pub sinks_at: u32,
    pub t5_at: u32,
    pub t5_buckets_at: u32,
    pub t5_distance: u32,
    pub q_positions_at: u32,
    pub k_positions_at: u32,
    pub q_rotations_at: u32,
    pub k_rotations_at: u32,
    pub table_start: i32,
    pub table_rows: u32,
    pub rotary_dim: u32,
    pub table_stride: u32,
    pub table_key_at: u32,
    pub table_side_at: u32,
    pub table_sine: f32,
    pub temperature_scale: f32,
    pub temperature_floor: u32,
    pub temperature_offset: u32,
    pub work_heads: u32,
    pub d_o: Rows,
    pub stats: Rows,
    pub dv: Rows,
    pub group_begin: u32,
    pub group_end: u32,
    pub accumulate: u32,
    pub part_begin: u32,
    pub part_stride: u32,
    pub shared_batches: u32,
    pub shared_heads: u32,
    pub mods_at: u32,
    pub pool_ends_at: u32,
    pub pool_blocks: u32,
    pub pool_begin: u32,
    pub block_begin: u32,
    pub keep_blocks: u32,
    pub local_blocks: u32,
    pub lists_at: u32,
    pub list_rows: u32,
    pub list_columns: u32,
    pub list_capacity: u32,
    pub chunks_at: u32,
    pub rotary_start: u32,
}

/// Where nothing lies in `aux`.
pub(super) const NOTHING: u32 = u32::MAX;

/// A window side without bound: beyond every pair of positions, and within i32 when added to one.
pub(super) const UNBOUNDED: u32 = 4 * MAX_LEN;

impl Params {
    /// What a problem says of itself; where its tensors lie and which part a step computes comes later.
    pub(super) fn of(problem: &Problem) -> Self {
        let (shape, mask, slice) = (&problem.shape, &problem.mask, problem.slice());
        let side = |side: Option<u32>| side.map_or(UNBOUNDED, |n| n.min(UNBOUNDED));
        let (left, right) = mask.window.map_or((None, None), |w| (w.left, w.right));
        let softcap = problem.score.softcap.unwrap_or(1.0);
        Self {
            batch: shape.batch,
            q_heads: shape.q_heads,
            work_heads: shape.q_heads,
            group: shape.group(),
            q_len: shape.q_len,
            kv_len: shape.kv_len,
            head_dim: shape.head_dim,
            value_dim: shape.value_dim,
            splits: 1,
            q_begin: slice.q.start,
            q_end: slice.q.end,
            k_begin: slice.k.start,
            k_end: slice.k.end,
            scale: problem.scale(),
            softcap,
            softcap_inverse: 1.0 / softcap,
            causal: mask.causal.into(),
            prefix: mask.prefix,
            window_left: side(left),
            window_right: side(right),
            // `first` is an exemption from the window: without one it does nothing.
            first: if mask.window.is_some() { mask.first } else { 0 },
            sinks_at: NOTHING,
            segment_keys_at: NOTHING,
            segment_queries_at: NOTHING,
            ..Self::default()
        }
    }
}

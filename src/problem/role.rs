//! The tensors that a caller brings, by name.

use std::fmt;

/// A tensor that the caller brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// q `[B, Hq, Nq, D]`
    Q,
    /// k `[B, Hkv, Nk, D]`
    K,
    /// v `[B, Hkv, Nk, Dv]`
    V,
    /// o `[B, Hq, Nq, Dv]`
    O,
    /// `f32 [B, Hq, Nq]`, natural logarithms.
    Lse,
    /// `f32 [B, Hq, Nq]`, see [`super::MaxScore`].
    MaxScore,
    /// `f32 [Hq]`, for [`super::MaxScore::per_head`].
    MaxScorePerHead,
    /// `u32 [B]`, for [`super::Lengths::Device`].
    KvLens,
    /// `i32 [B]`, for [`super::Offsets::Device`].
    QOffset,
    /// `u32 [B]`, for [`super::Prefix::Device`].
    Prefix,
    /// `u32 [S + 1]`, for [`super::CuSeqlens::Device`] of the queries.
    CuSeqlensQ,
    /// The same of the keys.
    CuSeqlensK,
    /// Of type [`super::Score::bias_element`], as laid out by [`super::Score::bias`].
    Bias,
    /// `f32 [Hq]`, or `[B, Hq]` by [`super::Score::slopes_per_batch`], for [`super::Values::Device`].
    Slopes,
    /// `f32 [Hq]`
    Sinks,
    /// `f32 [buckets, Hq]`
    T5,
    /// `i32 [B, Nq]`, for [`super::Positions::Device`].
    QPositions,
    /// `i32 [B, Nk]`
    KPositions,
    /// `i32 [B, Nq]`, for [`super::Segments::Device`].
    SegmentsQ,
    /// `i32 [B, Nk]`
    SegmentsK,
    /// `u32` words as laid out by [`super::DenseMask`], for [`super::MaskBits::Device`].
    Mask,
    /// `u32 [B, per_sequence]`, for [`super::KvAddress::Paged`].
    PageTable,
    /// `f32 [B, Nq, pairs, 2]`, for [`super::Position::rows_given`].
    Rotations,
    /// `u32 [B, Nq, 2]`, for [`super::Tree::Device`].
    Tree,
    /// `f32 [len]`, for [`super::ModData::Device`].
    ModData,
    /// Lists of blocks, see [`super::DeviceBlocks`]: read for [`super::Blocks::Device`], written by
    /// a [`crate::BlockScan`] and for [`super::Select::written`].
    BlockLists,
    /// The keys of a cache that a [`crate::KvAppend`] writes to.
    KCache,
    /// The values of a cache that a [`crate::KvAppend`] writes to.
    VCache,
    /// The rows of a [`crate::Rotation`] or a [`crate::Quantization`].
    Rows,
    /// The rotated rows of a [`crate::Rotation`].
    Rotated,
    /// What a [`crate::Quantization`] makes of its rows.
    Stored,
    /// `f32 [rows, dim]` of an [`crate::Embedding`].
    Table,
    /// The embeddings that an [`crate::Embedding`] writes or adds to.
    Embeddings,
    /// `f32 [parts, B, Hq, Nq, Dv]` of a [`crate::Merge`].
    PartialO,
    /// `f32 [parts, B, Hq, Nq]` of a [`crate::Merge`].
    PartialLse,
    /// dO of a [`crate::Backward`].
    DO,
    /// `f32 [B, Hq, Nq]`, the gradient by lse.
    DLse,
    /// The gradient by q, `[B, Hq, Nq, D]`.
    DQ,
    /// The gradient by k, `[B, Hkv, Nk, D]`.
    DK,
    /// The gradient by v, `[B, Hkv, Nk, Dv]`.
    DV,
    /// f32, contiguous `[B|1, Hq|1, Nq|1, Nk]`: 1 on each axis that the bias is broadcast over (by a stride of 0).
    DBias,
    /// `f32 [Hq]`, or `[B, Hq]` as the slopes are.
    DSlopes,
    /// `f32 [Hq]`
    DSinks,
    /// `f32 [buckets, Hq]`
    DT5,
}

impl Role {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Lse => "lse",
            Self::MaxScore => "max_score",
            Self::MaxScorePerHead => "max_score_head",
            Self::KvLens => "kv_lens",
            Self::QOffset => "q_offset",
            Self::Prefix => "prefix",
            Self::CuSeqlensQ => "cu_seqlens_q",
            Self::CuSeqlensK => "cu_seqlens_k",
            Self::Bias => "bias",
            Self::Slopes => "slopes",
            Self::Sinks => "sinks",
            Self::T5 => "t5",
            Self::QPositions => "q_positions",
            Self::KPositions => "k_positions",
            Self::SegmentsQ => "segments_q",
            Self::SegmentsK => "segments_k",
            Self::Mask => "mask",
            Self::PageTable => "page_table",
            Self::Rotations => "rotations",
            Self::Tree => "tree",
            Self::ModData => "mod_data",
            Self::BlockLists => "block_lists",
            Self::KCache => "k_cache",
            Self::VCache => "v_cache",
            Self::Rows => "rows",
            Self::Rotated => "rotated",
            Self::Stored => "stored",
            Self::Table => "table",
            Self::Embeddings => "embeddings",
            Self::PartialO => "partial_o",
            Self::PartialLse => "partial_lse",
            Self::DO => "do",
            Self::DLse => "dlse",
            Self::DQ => "dq",
            Self::DK => "dk",
            Self::DV => "dv",
            Self::DBias => "dbias",
            Self::DSlopes => "dslopes",
            Self::DSinks => "dsinks",
            Self::DT5 => "dt5",
        }
    }

    /// True for small values that the encoder copies into the call's own buffer.
    pub fn is_copied(self) -> bool {
        match self {
            Self::KvLens
            | Self::QOffset
            | Self::Prefix
            | Self::CuSeqlensQ
            | Self::CuSeqlensK
            | Self::Slopes
            | Self::Sinks
            | Self::T5
            | Self::QPositions
            | Self::KPositions
            | Self::SegmentsQ
            | Self::SegmentsK
            | Self::Mask
            | Self::PageTable
            | Self::Tree
            | Self::ModData
            | Self::BlockLists => true,
            Self::Q
            | Self::K
            | Self::V
            | Self::O
            | Self::Lse
            | Self::MaxScore
            | Self::MaxScorePerHead
            | Self::Bias
            | Self::Rotations
            | Self::KCache
            | Self::VCache
            | Self::Rows
            | Self::Rotated
            | Self::Stored
            | Self::Table
            | Self::Embeddings
            | Self::PartialO
            | Self::PartialLse
            | Self::DO
            | Self::DLse
            | Self::DQ
            | Self::DK
            | Self::DV
            | Self::DBias
            | Self::DSlopes
            | Self::DSinks
            | Self::DT5 => false,
        }
    }

    /// True for outputs that a backward pass writes while operands are still to be read.
    #[cfg(feature = "wgpu")]
    pub(crate) fn is_early(self) -> bool {
        match self {
            Self::DSlopes | Self::DSinks | Self::DT5 => true,
            Self::Q
            | Self::K
            | Self::V
            | Self::O
            | Self::Lse
            | Self::MaxScore
            | Self::MaxScorePerHead
            | Self::KvLens
            | Self::QOffset
            | Self::Prefix
            | Self::CuSeqlensQ
            | Self::CuSeqlensK
            | Self::Bias
            | Self::Slopes
            | Self::Sinks
            | Self::T5
            | Self::QPositions
            | Self::KPositions
            | Self::SegmentsQ
            | Self::SegmentsK
            | Self::Mask
            | Self::PageTable
            | Self::Rotations
            | Self::Tree
            | Self::ModData
            | Self::BlockLists
            | Self::KCache
            | Self::VCache
            | Self::Rows
            | Self::Rotated
            | Self::Stored
            | Self::Table
            | Self::Embeddings
            | Self::PartialO
            | Self::PartialLse
            | Self::DO
            | Self::DLse
            | Self::DQ
            | Self::DK
            | Self::DV
            | Self::DBias => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

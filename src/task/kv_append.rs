//! New keys and values written into a cache, in place.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::problem::position::{Rotary, Side};
use crate::problem::{
    CuSeqlens, Element, KvAddress, Layout, Lengths, Mask, Offsets, Operand, Position, Problem,
    Shape, Tokens, check_hadamard,
};

/// New keys `[B, Hkv, N, D]` and values `[B, Hkv, N, Dv]` (the operands `k`, `v`) that are written into a cache (`k_cache`,
/// `v_cache`): row i of batch b becomes its row `q_offset[b] + i`, where the query of the same token stands, as long as that
/// is before `kv_lens[b]`, the length with the new rows. So the lengths and offsets of the attention call that follows
/// serve both, and a batch of which fewer than N rows are new gives them first.
///
/// Of more new rows than a ring has, it writes those that stay: its first, and the latest. Attention to the others takes them
/// from k and v themselves, as a call of its own, or the rows come in parts with a call after each.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KvAppend {
    /// B, Hkv, N, the rows that a sequence has room for (Nk of the attention calls), D and Dv. `q_heads` is `kv_heads`.
    pub shape: Shape,
    /// New keys.
    pub k: Operand,
    /// New values.
    pub v: Operand,
    /// The cache's keys, of the sizes that its address says.
    pub k_cache: Operand,
    /// The cache's values.
    pub v_cache: Operand,
    /// Where the cache's rows lie.
    pub kv_address: KvAddress,
    /// Rows of each batch with the new ones.
    pub kv_lens: Lengths,
    /// Rows of each batch before the new ones.
    pub q_offset: Offsets,
    /// k and v are ragged, `[1, Hkv, total]` rows: the new rows of each batch one after the other, those of batch b from
    /// `cu_seqlens_q[b]` on, N at most. `None`: each batch has N rows of its own.
    pub cu_seqlens: Option<CuSeqlens>,
    /// Keys are rotated on the way in, by where they will stand; else they are stored as they are.
    pub rotary: Option<Rotary>,
    /// Keys are rotated by Walsh–Hadamard matrices after that, for [`crate::Problem::k_hadamard`].
    pub k_hadamard: bool,
    /// Values are, for [`crate::Problem::v_hadamard`].
    pub v_hadamard: bool,
    /// As in [`Position`]: the keys' rows, `[B, N]` or `[total]`, lie in the operand `rotations`.
    pub rows_given: bool,
    /// As in [`Position`].
    pub length: Option<u32>,
    /// As in [`Position`].
    pub range: Option<RangeInclusive<i32>>,
}

setters! {
    KvAppend {
        with_k(k: Operand);
        with_v(v: Operand);
        with_k_cache(k_cache: Operand);
        with_v_cache(v_cache: Operand);
        with_kv_lens(kv_lens: Lengths);
        with_q_offset(q_offset: Offsets);
        with_cu_seqlens(cu_seqlens?: CuSeqlens);
        with_rotary(rotary?: Rotary);
        with_k_hadamard(k_hadamard: bool);
        with_v_hadamard(v_hadamard: bool);
        with_rows_given(rows_given: bool);
        with_length(length?: u32);
        with_range(range?: RangeInclusive<i32>);
    }
}

impl KvAppend {
    /// Contiguous rows of one element type into a contiguous cache of that type; lengths and offsets lie on the device.
    pub fn new(shape: Shape, address: KvAddress, element: Element) -> Self {
        let shape = Shape {
            q_heads: shape.kv_heads,
            ..shape
        };
        let rows =
            |rows, dim| Operand::new(element, Layout::heads_first(shape.kv_heads, rows, dim));
        let [_, _, kept] = address.sizes(&shape);
        Self {
            k: rows(shape.q_len, shape.head_dim),
            v: rows(shape.q_len, shape.value_dim),
            k_cache: rows(kept, shape.head_dim),
            v_cache: rows(kept, shape.value_dim),
            shape,
            kv_address: address,
            kv_lens: Lengths::Device,
            q_offset: Offsets::Device,
            cu_seqlens: None,
            rotary: None,
            k_hadamard: false,
            v_hadamard: false,
            rows_given: false,
            length: None,
            range: None,
        }
    }

    /// The cache's keys and values stored as these elements, its rows side by side.
    pub fn with_cache_elements(mut self, k: Element, v: Element) -> Self {
        let [_, heads, kept] = self.kv_address.sizes(&self.shape);
        self.k_cache = Operand::heads_first(k, heads, kept, self.shape.head_dim);
        self.v_cache = Operand::heads_first(v, heads, kept, self.shape.value_dim);
        self
    }

    /// Batches, heads and rows of what is new: `[1, Hkv, total]` of a ragged append.
    pub(crate) fn sizes(&self) -> [u32; 3] {
        self.problem().q_sizes()
    }

    /// An attention call over the cache, as far as it tells which rows are new and where they stand.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.shape, Element::F32)
            .with_mask(self.mask())
            .with_position(self.position())
            .with_cu_seqlens_q(self.cu_seqlens.clone())
    }

    /// Lengths and offsets as a mask has them.
    pub(crate) fn mask(&self) -> Mask {
        Mask::default()
            .with_kv_lens(self.kv_lens.clone())
            .with_q_offset(self.q_offset.clone())
    }

    /// Where the new keys stand.
    pub(crate) fn position(&self) -> Position {
        Position {
            rotary: self.rotary.clone(),
            k_rotated: self.rotary.is_some(),
            rows_given: self.rows_given,
            length: self.length,
            range: self.range.clone(),
            ..Position::default()
        }
    }

    /// True where keys are rotated.
    pub(crate) fn rotates(&self) -> bool {
        self.position().rotates(Side::Query)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let shape = &self.shape;
        for (what, value) in [
            ("kv_heads", shape.kv_heads),
            ("head_dim", shape.head_dim),
            ("value_dim", shape.value_dim),
        ] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        self.kv_address.validate(shape)?;
        self.problem().validate_ragged()?;
        let kept = self.kv_address.sizes(shape);
        for (what, new, cache, dim) in [
            ("k", &self.k, ("k_cache", &self.k_cache), shape.head_dim),
            ("v", &self.v, ("v_cache", &self.v_cache), shape.value_dim),
        ] {
            new.validate(what, self.sizes(), dim)?;
            let (what, cache) = cache;
            cache.validate_stored(what, kept, dim)?;
            cache.validate_output(what, kept, dim)?;
            check_whole_words(what, cache, dim)?;
        }
        check_hadamard("k_hadamard", self.k_hadamard, shape.head_dim)?;
        check_hadamard("v_hadamard", self.v_hadamard, shape.value_dim)?;
        let tokens = Tokens::of_shape(shape);
        self.mask().validate(shape, tokens)?;
        self.position().validate(shape, &self.mask(), tokens)
    }
}

/// A row is written by itself, so its words are its own.
fn check_whole_words(what: &'static str, cache: &Operand, dim: u32) -> Result<()> {
    let per_word = cache.element.per_word();
    // Rows with scales are whole words by themselves.
    let words = per_word == 1
        || cache.element.is_quantized()
        || (cache.layout.is_aligned(per_word) && u64::from(dim).is_multiple_of(per_word));
    match words {
        true => Ok(()),
        false => Err(Error::SharedWords {
            what,
            element: cache.element,
        }),
    }
}

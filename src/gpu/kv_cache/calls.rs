//! The calls over a cache, and what they bind of it.

use crate::cache::CacheKind;
use crate::error::Result;
use crate::gpu::operands::Operands;
use crate::problem::{
    CuSeqlens, Element, Layout, Lengths, Mask, Offsets, Operand, Position, Problem, Role, Shape,
    Window,
};
use crate::task::KvAppend;

use super::KvCache;

impl KvCache {
    /// The append of a layer's new rows, contiguous `[B, Hkv, Nq, D]` and `[B, Hkv, Nq, Dv]` of this type, or `[1, Hkv, tokens, …]`
    /// where its calls are ragged ([`tokens`](field@crate::KvCacheOptions::tokens)).
    ///
    /// Of a cache whose batch is 1 the shape's `q_len` may be made less, here and in [`Self::problem`]. Of several rows it may
    /// not: rotary rows lie `q_len` apart for each.
    pub fn append(&self, element: Element) -> KvAppend {
        let shape = self.options.shape();
        let [k_cache, v_cache] = self.options.operands();
        let append = KvAppend::new(shape, self.options.address(), element);
        let [k, v] = match self.options.tokens {
            Some(tokens) => [shape.head_dim, shape.value_dim]
                .map(|dim| Operand::heads_first(element, shape.kv_heads, tokens, dim)),
            None => [append.k, append.v],
        };
        append
            .with_k(k)
            .with_v(v)
            .with_k_cache(k_cache)
            .with_v_cache(v_cache)
            .with_cu_seqlens(self.cu_seqlens_of_calls())
            .with_rotary(self.options.rotary_of_append().cloned())
            .with_rows_given(self.options.rotary_of_append().is_some())
            .with_k_hadamard(self.options.k_hadamard)
            .with_v_hadamard(self.options.v_hadamard)
    }

    /// Attention of the new tokens of `q_heads` heads, in q and o of this type, to all tokens of their sequences: causal, and
    /// of a ring its window. Masks, scores and positions may be added to it, and what all sequences of its calls have in
    /// common: [`Problem::with_shared_prefix`] of at most [`Self::common_prefix`]. The batch's row 0 must then have one of
    /// them (of a paged cache the first that [`Self::begin`] is given), and rows without a sequence have no result that
    /// means something.
    pub fn problem(&self, q_heads: u32, element: Element) -> Problem {
        let shape = Shape {
            q_heads,
            ..self.options.shape()
        };
        let [k, v] = self.options.operands();
        let mut mask = Mask::causal()
            .with_kv_lens(Lengths::Device)
            .with_q_offset(Offsets::Device);
        if let CacheKind::Ring { first, window } = self.options.kind {
            mask = mask.with_first(first).with_window(Window {
                left: Some(window - 1),
                right: Some(0),
            });
        }
        let problem = Problem::new(shape, element);
        let problem = match self.options.tokens {
            Some(tokens) => {
                let rows = |dim| Operand::heads_first(element, q_heads, tokens, dim);
                problem
                    .with_q(rows(shape.head_dim))
                    .with_o(rows(shape.value_dim))
                    .with_lse(Layout::heads_first(q_heads, tokens, 1))
                    .with_cu_seqlens_q(self.cu_seqlens_of_calls())
            }
            None => problem,
        };
        problem
            .with_cache(self.options.address())
            .with_k(k)
            .with_v(v)
            .with_mask(mask)
            .with_position(self.position())
            .with_k_hadamard(self.options.k_hadamard)
            .with_v_hadamard(self.options.v_hadamard)
    }

    fn cu_seqlens_of_calls(&self) -> Option<CuSeqlens> {
        let total = self.options.tokens?;
        Some(CuSeqlens::Device { total })
    }

    fn position(&self) -> Position {
        let Some(rotary) = &self.options.rotary else {
            return Position::default();
        };
        let position = Position::rotary(rotary.clone());
        if self.options.rotary_of_append().is_some() {
            return position.with_k_rotated(true).with_rows_given(true);
        }
        let (range, length) = self.options.positions();
        position
            .with_within_cache(self.options.is_counted_within())
            .with_range(range)
            .with_length(length)
    }

    /// What an append to a layer binds.
    ///
    /// # Errors
    ///
    /// [`Error::Size`](crate::Error::Size) for a layer that there is not.
    pub fn append_operands<'a>(
        &'a self,
        layer: u32,
        k: &'a wgpu::Buffer,
        v: &'a wgpu::Buffer,
    ) -> Result<Operands<'a>> {
        let [k_cache, v_cache] = self.layer(layer)?;
        let operands = Operands::default()
            .with(Role::K, k)
            .with(Role::V, v)
            .with(Role::KCache, k_cache)
            .with(Role::VCache, v_cache);
        Ok(self.with_lengths(operands))
    }

    /// What an attention call over a layer binds.
    ///
    /// # Errors
    ///
    /// [`Error::Size`](crate::Error::Size) for a layer that there is not.
    pub fn operands<'a>(
        &'a self,
        layer: u32,
        q: &'a wgpu::Buffer,
        o: &'a wgpu::Buffer,
        lse: &'a wgpu::Buffer,
    ) -> Result<Operands<'a>> {
        let [k, v] = self.layer(layer)?;
        Ok(self.with_lengths(Operands::new(q, k, v, o, lse)))
    }

    fn with_lengths<'a>(&'a self, operands: Operands<'a>) -> Operands<'a> {
        let mut operands = operands
            .with(Role::KvLens, &self.kv_lens)
            .with(Role::QOffset, &self.q_offset);
        if let CacheKind::Paged { .. } = self.options.kind {
            operands = operands.with(Role::PageTable, &self.page_table);
        }
        if self.options.tokens.is_some() {
            operands = operands.with(Role::CuSeqlensQ, &self.cu_seqlens);
        }
        match self.options.rotary_of_append() {
            Some(_) => operands.with(Role::Rotations, &self.rotations),
            None => operands,
        }
    }
}

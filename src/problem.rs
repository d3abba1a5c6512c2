//! What is to be computed: sizes, memory layouts, elements, mask, score and positions. Pure data.
//!
//! The conventions (which query stands where, which pairs are visible, the order of the score's parts) are those of
//! the crate's front page; [`crate::reference`] is their definition in code.

mod block_mask;
mod dense_mask;
mod kv_address;
mod mask;
mod max_score;
mod mods;
mod operand;
pub mod position;
mod ragged;
mod role;
mod score;
mod segments;
mod select;
mod shared_prefix;
mod tree;

pub use block_mask::{
    BitTile, Block, BlockGrid, BlockMask, DeviceBlocks, MAX_BLOCK, MIN_BLOCK, Pattern,
};
pub use dense_mask::{DenseMask, MaskBits};
pub use kv_address::{KvAddress, MAX_PAGE, Pages, Ring};
pub use mask::{Blocks, Lengths, Mask, Offsets, Prefix, Window};
pub use max_score::MaxScore;
pub use mods::{
    ASSUMED_ITERATIONS, MAX_MODS_BYTES, MAX_MODS_TYPE_BYTES, ModData, ModFault, ModText, Mods,
};
pub use operand::{Element, Layout, Operand};
pub(crate) use operand::{INT4_GROUP, INT4_GROUP_WORDS};
pub use position::{MAX_POSITION, Position, Positions};
pub use ragged::CuSeqlens;
pub(crate) use ragged::Tokens;
pub use role::Role;
pub(crate) use score::Magnitude;
pub use score::{
    MAX_SCALE, MAX_SCORE, MAX_SLOPE, SOFTCAPS, Score, T5, T5Bias, Values, alibi_slopes,
};
pub use segments::Segments;
pub use select::{Coverage, Select, SelectBy};
pub use tree::{MAX_TREE_QUERIES, Tree};
pub(crate) use tree::{TREE_WORDS, check_parents, words as tree_words};

use std::ops::Range;

use crate::error::{Error, Result};

/// Largest number of queries or keys: positions are `i32` in the shaders, with room for a window on either side.
pub const MAX_LEN: u32 = 1 << 28;
/// Largest head size, for q and k as for v.
pub const MAX_DIM: u32 = 576;

/// The sizes of one attention problem: q `[B, Hq, Nq, D]`, k `[B, Hkv, Nk, D]`, v `[B, Hkv, Nk, Dv]`. These seven are
/// all that there are, so a literal may state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// B
    pub batch: u32,
    /// Hq
    pub q_heads: u32,
    /// Divides `q_heads`; query head h reads KV head `h / (q_heads / kv_heads)` (GQA, MQA at 1).
    pub kv_heads: u32,
    /// Nq
    pub q_len: u32,
    /// Nk
    pub kv_len: u32,
    /// D, the size of a row of q and k.
    pub head_dim: u32,
    /// Dv, the size of a row of v and o.
    pub value_dim: u32,
}

impl Shape {
    /// As many KV heads, keys and value channels as query heads, queries and channels.
    pub fn square(batch: u32, heads: u32, len: u32, dim: u32) -> Self {
        Self {
            batch,
            q_heads: heads,
            kv_heads: heads,
            q_len: len,
            kv_len: len,
            head_dim: dim,
            value_dim: dim,
        }
    }

    /// Query heads that share one KV head; none where there is no KV head.
    pub fn group(&self) -> u32 {
        self.q_heads.checked_div(self.kv_heads).unwrap_or(0)
    }

    /// Rows of q, o and lse: `B · Hq · Nq`, at most 2⁶⁴ − 1.
    pub fn rows(&self) -> u64 {
        match self.q_len {
            0 => 0,
            len => tokens(self.batch, self.q_heads).saturating_mul(len.into()),
        }
    }
}

/// Numbers of one per token, or rows of a batch's heads: two factors never overflow.
pub(crate) fn tokens(batch: u32, len: u32) -> u64 {
    u64::from(batch) * u64::from(len)
}

/// Refuses a factor on q·k that makes no finite numbers.
pub(crate) fn check_scale(scale: f32) -> Result<()> {
    match scale.is_nan() || scale.abs() > MAX_SCALE {
        true => Err(Error::number(
            "scale",
            scale,
            "a finite number, -1e12 to 1e12",
        )),
        false => Ok(()),
    }
}

/// The part of a problem that one call computes: these queries against these keys, in coordinates of the whole
/// problem, so a cut changes no mask, position or bias.
///
/// A call with a slice of the keys yields a partial `(o, lse)`; [`crate::Merge`] joins partials. Two ranges are all that a
/// slice is, so a literal may state it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Queries, as indices of the whole problem.
    pub q: Range<u32>,
    /// Keys, as indices of the whole problem.
    pub k: Range<u32>,
}

impl Slice {
    /// True where it holds queries and keys.
    pub(crate) fn has_pairs(&self) -> bool {
        !self.q.is_empty() && !self.k.is_empty()
    }
}

/// The channels that a Walsh–Hadamard rotation of rows of `dim` mixes: the largest power of two that divides it.
pub(crate) fn hadamard_block(dim: u32) -> u32 {
    1 << dim.trailing_zeros()
}

/// Refuses such a rotation of rows that no power of two divides.
pub(crate) fn check_hadamard(what: &'static str, asked: bool, dim: u32) -> Result<()> {
    match asked && hadamard_block(dim) < 2 {
        true => Err(Error::OddHadamard { what, dim }),
        false => Ok(()),
    }
}

/// One attention problem: [`Problem::new`], then a `with_` per field that differs. Fields are public and plain; [`Problem::validate`] (called by every plan) checks them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// The sizes.
    pub shape: Shape,
    /// `[B, Hq, Nq, D]`, of a float type. q, k and v may differ in theirs; a backward pass takes all of one.
    pub q: Operand,
    /// `[B, Hkv, Nk, D]`, of any element type.
    pub k: Operand,
    /// `[B, Hkv, Nk, Dv]`, of any element type.
    pub v: Operand,
    /// `[B, Hq, Nq, Dv]`, of any float type.
    pub o: Operand,
    /// Where lse lies, f32 `[B, Hq, Nq]`: its rows are single numbers.
    pub lse: Layout,
    /// The largest scores as outputs, too.
    pub max_score: Option<MaxScore>,
    /// Factor on q·k, at most [`MAX_SCALE`]; `None` is `1/√D`.
    pub scale: Option<f32>,
    /// Where rows of k and v lie.
    pub kv_address: KvAddress,
    /// So many keys and values at the beginning are those of batch 0 in every batch (its rows, its pages): a prompt that all
    /// sequences share. It changes no answer; a plan may read them once for all batches, and says what that saves. Every
    /// length covers them, and a causal mask or a tree hides none of them from a query; what of this only the device knows is
    /// the caller's word: rows that are shorter see all of them.
    pub shared_prefix: u32,
    /// Which pairs are visible.
    pub mask: Mask,
    /// What joins the product q·k.
    pub score: Score,
    /// How q and k are rotated, and where tokens stand.
    pub position: Position,
    /// k holds rows rotated by normalised Walsh–Hadamard matrices over blocks of the largest power of two that divides D,
    /// as [`crate::quantize::hadamard`] rotates them (QuaRot, 2404.00456): q is rotated alike before, which changes no
    /// score. It comes after RoPE, so a rotary scheme needs [`Position::k_rotated`]. Forward only.
    pub k_hadamard: bool,
    /// v holds such rows, over blocks that divide Dv: o is rotated back after. Forward only.
    pub v_hadamard: bool,
    /// The user's own mask and score functions.
    pub mods: Option<Mods>,
    /// q, o and lse are ragged: `[1, Hq, total]` rows, of which each batch of the shape has a sequence of at most `q_len`.
    /// [`Problem::ragged`] makes such a problem.
    pub cu_seqlens_q: Option<CuSeqlens>,
    /// The same of k and v, `[1, Hkv, total]` rows. Each side is ragged or not by itself.
    pub cu_seqlens_k: Option<CuSeqlens>,
    /// `None` is the whole problem. Rows of o and lse outside of a slice's queries are not written.
    pub slice: Option<Slice>,
}

setters! {
    Problem {
        with_shape(shape: Shape);
        with_q(q: Operand);
        with_k(k: Operand);
        with_v(v: Operand);
        with_o(o: Operand);
        with_lse(lse: Layout);
        with_max_score(max_score?: MaxScore);
        with_scale(scale?: f32);
        with_kv_address(kv_address: KvAddress);
        with_shared_prefix(shared_prefix: u32);
        with_mask(mask: Mask);
        with_score(score: Score);
        with_position(position: Position);
        with_k_hadamard(k_hadamard: bool);
        with_v_hadamard(v_hadamard: bool);
        with_mods(mods?: Mods);
        with_cu_seqlens_q(cu_seqlens_q?: CuSeqlens);
        with_cu_seqlens_k(cu_seqlens_k?: CuSeqlens);
        with_slice(slice?: Slice);
    }
}

impl Problem {
    /// Contiguous `[B, H, N, D]` operands of one element type, nothing masked.
    pub fn new(shape: Shape, element: Element) -> Self {
        let q = Layout::heads_first(shape.q_heads, shape.q_len, shape.head_dim);
        let k = Layout::heads_first(shape.kv_heads, shape.kv_len, shape.head_dim);
        let v = Layout::heads_first(shape.kv_heads, shape.kv_len, shape.value_dim);
        let o = Layout::heads_first(shape.q_heads, shape.q_len, shape.value_dim);
        Self {
            shape,
            q: Operand::new(element, q),
            k: Operand::new(element, k),
            v: Operand::new(element, v),
            o: Operand::new(element, o),
            lse: Layout::heads_first(shape.q_heads, shape.q_len, 1),
            max_score: None,
            scale: None,
            kv_address: KvAddress::default(),
            shared_prefix: 0,
            mask: Mask::default(),
            score: Score::default(),
            position: Position::default(),
            k_hadamard: false,
            v_hadamard: false,
            mods: None,
            cu_seqlens_q: None,
            cu_seqlens_k: None,
            slice: None,
        }
    }

    /// k and v stored as these elements, rows side by side: what a cache of quantised rows holds. Where the address is
    /// another, give that before.
    pub fn with_kv_elements(mut self, k: Element, v: Element) -> Self {
        let [_, heads, rows] = self.kv_address.sizes(&self.shape);
        self.k = Operand::heads_first(k, heads, rows, self.shape.head_dim);
        self.v = Operand::heads_first(v, heads, rows, self.shape.value_dim);
        self
    }

    /// lse as a tensor of one channel.
    pub(crate) fn lse_operand(&self) -> Operand {
        Operand::new(Element::F32, self.lse)
    }

    /// k and v of this address, contiguous: `[B, Hkv, Nk, D]`, `[pages, Hkv, page_len, D]` or `[B, Hkv, first + len, D]`.
    #[must_use]
    pub fn with_cache(mut self, address: KvAddress) -> Self {
        let [_, heads, rows] = address.sizes(&self.shape);
        let (d, dv) = (self.shape.head_dim, self.shape.value_dim);
        self.k = Operand::heads_first(self.k.element, heads, rows, d);
        self.v = Operand::heads_first(self.v.element, heads, rows, dv);
        self.with_kv_address(address)
    }

    /// The factor on q·k.
    pub fn scale(&self) -> f32 {
        self.scale
            .unwrap_or_else(|| 1.0 / (self.shape.head_dim as f32).sqrt())
    }

    /// The slice that this call computes.
    pub fn slice(&self) -> Slice {
        self.slice.clone().unwrap_or(Slice {
            q: 0..self.shape.q_len,
            k: 0..self.shape.kv_len,
        })
    }

    /// True when no row or no key is there, so that nothing is to be attended to.
    pub fn is_empty(&self) -> bool {
        let slice = self.slice();
        self.shape.batch == 0 || slice.q.is_empty() || slice.k.is_empty()
    }

    /// Keys that a ring's last query sees: those that positions within it count.
    pub(crate) fn kept(&self) -> u32 {
        let left = self.mask.window.and_then(|window| window.left);
        let window = left.unwrap_or(self.shape.kv_len).saturating_add(1);
        self.mask.first.saturating_add(window)
    }

    /// Checks everything that the host can know.
    pub fn validate(&self) -> Result<()> {
        let s = &self.shape;
        for (what, value) in [("q_heads", s.q_heads), ("kv_heads", s.kv_heads)] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        if !s.q_heads.is_multiple_of(s.kv_heads) {
            return Err(Error::size(
                "q_heads",
                s.q_heads,
                format!("a multiple of kv_heads = {}", s.kv_heads),
            ));
        }
        for (what, value) in [("head_dim", s.head_dim), ("value_dim", s.value_dim)] {
            if value == 0 || value > MAX_DIM {
                return Err(Error::size(what, value, format!("1 to {MAX_DIM}")));
            }
        }
        for (what, value) in [("q_len", s.q_len), ("kv_len", s.kv_len)] {
            if value > MAX_LEN {
                return Err(Error::size(what, value, format!("at most {MAX_LEN}")));
            }
        }
        self.validate_slice()?;
        self.kv_address.validate(s)?;
        self.validate_ragged()?;
        let (q, kv) = (self.q_sizes(), self.kv_sizes());
        self.q.validate("q", q, s.head_dim)?;
        self.k.validate_stored("k", kv, s.head_dim)?;
        self.v.validate_stored("v", kv, s.value_dim)?;
        self.o.validate("o", q, s.value_dim)?;
        self.o.validate_output("o", q, s.value_dim)?;
        self.lse_operand().validate("lse", q, 1)?;
        self.lse_operand().validate_output("lse", q, 1)?;
        if let Some(max_score) = &self.max_score {
            max_score.validate(s)?;
        }
        self.scale.map_or(Ok(()), check_scale)?;
        let tokens = [self.queries(), self.keys()];
        self.mask.validate(s, tokens)?;
        self.validate_shared_prefix()?;
        self.kv_address
            .validate_mask(s, &self.mask, self.slice().q.start)?;
        if self.mask.selected_blocks().is_some() {
            self.kv_address.check_strided("the choice of blocks")?;
        }
        self.score.validate(s)?;
        let known = self.resolved();
        self.position.validate(s, &known.mask, tokens)?;
        self.validate_given_positions()?;
        let is_ring = matches!(self.kv_address, KvAddress::Ring(_));
        if self.position.within_cache && !is_ring {
            return Err(Error::WithinCache {
                reason: "k and v lie in no ring; state Problem::kv_address",
            });
        }
        self.validate_hadamard()
    }

    /// Positions beside the queries' rotary rows are for biases by distance and temperatures only.
    fn validate_given_positions(&self) -> Result<()> {
        let position = &self.position;
        let temperature = position.rotary.as_ref().and_then(|x| x.temperature);
        let read = self.score.uses_positions() || temperature.is_some();
        let stated = position.q_positions != Positions::Index;
        match position.rows_given && stated && !read {
            true => Err(Error::GivenRows {
                reason: "Position::q_positions are stated, which nothing reads then; give the rows of these positions, and \
                         leave them out",
            }),
            false => Ok(()),
        }
    }

    fn validate_hadamard(&self) -> Result<()> {
        let s = &self.shape;
        check_hadamard("k_hadamard", self.k_hadamard, s.head_dim)?;
        check_hadamard("v_hadamard", self.v_hadamard, s.value_dim)?;
        match self.k_hadamard && self.position.rotates(position::Side::Key) {
            true => Err(Error::HadamardBeforeRotation),
            false => Ok(()),
        }
    }

    fn validate_slice(&self) -> Result<()> {
        let slice = self.slice();
        for (what, range, len) in [
            ("slice.q", &slice.q, self.shape.q_len),
            ("slice.k", &slice.k, self.shape.kv_len),
        ] {
            if range.start > range.end || range.end > len {
                return Err(Error::Range {
                    what,
                    start: range.start,
                    end: range.end,
                    len,
                });
            }
        }
        Ok(())
    }
}

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
mod shape;
mod shared_prefix;
mod slice;
mod tree;
mod validate;

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
pub(crate) use shape::tokens;
pub use shape::{MAX_DIM, MAX_LEN, Shape};
pub use slice::Slice;
pub use tree::{MAX_TREE_QUERIES, Tree};
pub(crate) use tree::{TREE_WORDS, check_parents, words as tree_words};
#[cfg(feature = "wgpu")]
pub(crate) use validate::check_scale;
pub(crate) use validate::{check_hadamard, hadamard_block};

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
}

//! Which pairs of query and key are visible.

use std::sync::Arc;

use crate::error::{Error, Result};

use super::{BlockGrid, BlockMask, DenseMask, DeviceBlocks, Segments, Select, Shape, Tokens, Tree};

/// Keys from `left` before the query's own to `right` after it, both inclusive; `None` is unbounded. Two ends are all that
/// a window has, so a literal may state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Keys before the query's own that it sees; `None` is all.
    pub left: Option<u32>,
    /// Keys after the query's own that it sees; `None` is all.
    pub right: Option<u32>,
}

/// How many keys of each batch are there (the others are hidden); never moves the diagonal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lengths {
    /// All `kv_len` keys.
    #[default]
    All,
    /// One length per batch, each at most `kv_len`.
    Host(Vec<u32>),
    /// `u32 [B]` in the buffer `kv_lens` of the operands; clamped to `kv_len` in the shader.
    Device,
}

/// The key index at which query 0 of each batch stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Offsets {
    /// `kv_len − q_len`: the last query stands at the last key.
    #[default]
    BottomRight,
    /// One offset per batch; 0 is top-left, a cache uses `len − q_len`.
    Host(Vec<i32>),
    /// `i32 [B]` in the buffer `q_offset` of the operands.
    Device,
}

/// How many keys of each batch are exempt from a causal mask: a prompt that every query sees (prefix-LM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// As many in every batch.
    Same(u32),
    /// One number per batch; one past the keys stands for all of them.
    Host(Vec<u32>),
    /// `u32 [B]` in the buffer `prefix` of the operands.
    Device,
}

impl Default for Prefix {
    fn default() -> Self {
        Self::Same(0)
    }
}

impl From<u32> for Prefix {
    fn from(keys: u32) -> Self {
        Self::Same(keys)
    }
}

/// Which blocks of keys each block of queries sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Lists that the host knows, with bits inside of partial blocks.
    Host(Arc<BlockMask>),
    /// Lists in the operands' buffer `block_lists`: what [`crate::BlockScan`] or a call with [`Select::written`] left.
    Device(DeviceBlocks),
    /// Chosen by the call itself, from q and k.
    Select(Select),
}

impl From<BlockMask> for Blocks {
    fn from(mask: BlockMask) -> Self {
        Self::Host(Arc::new(mask))
    }
}

/// Which pairs are visible. All kinds combine freely; the default hides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mask {
    /// A query sees no key after its own.
    pub causal: bool,
    /// Keys before this one are exempt from `causal` (prefix-LM), per batch.
    pub prefix: Prefix,
    /// A sliding window around the key at which a query stands.
    pub window: Option<Window>,
    /// Keys before this one are exempt from `window` (attention sinks, StreamingLLM).
    pub first: u32,
    /// Keys from this length on are hidden, per batch.
    pub kv_lens: Lengths,
    /// The key index at which query 0 stands, per batch.
    pub q_offset: Offsets,
    /// Documents: a pair is visible when its segments are equal.
    pub segments: Option<Segments>,
    /// Blocks of keys that are visited; what is not listed costs nothing.
    pub blocks: Option<Blocks>,
    /// A bit per pair.
    pub dense: Option<DenseMask>,
    /// Drafts that branch: a query sees those of its own branch.
    pub tree: Option<Tree>,
}

setters! {
    Mask {
        with_causal(causal: bool);
        with_window(window?: Window);
        with_first(first: u32);
        with_kv_lens(kv_lens: Lengths);
        with_q_offset(q_offset: Offsets);
        with_segments(segments?: Segments);
        with_blocks(blocks?: Blocks);
        with_dense(dense?: DenseMask);
        with_tree(tree?: Tree);
    }
}

impl Mask {
    /// With this [`prefix`](field@Self::prefix): one number for all batches, or any [`Prefix`].
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Prefix>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A query sees keys up to the one at which it stands.
    pub fn causal() -> Self {
        Self {
            causal: true,
            ..Self::default()
        }
    }

    /// A window of `left` keys before and `right` after each query.
    pub fn window(left: u32, right: u32) -> Self {
        Self {
            window: Some(Window {
                left: Some(left),
                right: Some(right),
            }),
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self, shape: &Shape, tokens: [Tokens<'_>; 2]) -> Result<()> {
        let batch = shape.batch as usize;
        if let Lengths::Host(lens) = &self.kv_lens {
            Error::check_count("kv_lens", lens.len(), batch)?;
            for (b, &len) in lens.iter().enumerate() {
                if len > shape.kv_len {
                    return Err(Error::Element {
                        what: "kv_lens",
                        index: b,
                        actual: i64::from(len),
                        allowed: format!("0 to kv_len = {}", shape.kv_len),
                    });
                }
            }
        }
        if let Prefix::Host(prefixes) = &self.prefix {
            Error::check_count("prefix", prefixes.len(), batch)?;
        }
        if let Offsets::Host(offsets) = &self.q_offset {
            Error::check_count("q_offset", offsets.len(), batch)?;
            let limit = super::MAX_LEN as i32;
            for (b, &offset) in offsets.iter().enumerate() {
                if !(-limit..=limit).contains(&offset) {
                    return Err(Error::Element {
                        what: "q_offset",
                        index: b,
                        actual: i64::from(offset),
                        allowed: format!("-{limit} to {limit}"),
                    });
                }
            }
        }
        if let Some(segments) = &self.segments {
            segments.validate(tokens)?;
        }
        if let Some(dense) = &self.dense {
            dense.validate(shape)?;
        }
        if let Some(tree) = &self.tree {
            tree.validate(shape)?;
        }
        match &self.blocks {
            Some(Blocks::Host(mask)) => mask.validate(shape),
            Some(Blocks::Device(lists)) => lists.validate(shape),
            Some(Blocks::Select(select)) => select.validate(shape),
            None => Ok(()),
        }
    }

    /// The lists that the host knows.
    pub fn host_blocks(&self) -> Option<&BlockMask> {
        match &self.blocks {
            Some(Blocks::Host(mask)) => Some(mask),
            Some(Blocks::Device(_) | Blocks::Select(_)) | None => None,
        }
    }

    /// The choice of blocks that the call makes.
    pub fn selected_blocks(&self) -> Option<&Select> {
        match &self.blocks {
            Some(Blocks::Select(select)) => Some(select),
            Some(Blocks::Host(_) | Blocks::Device(_)) | None => None,
        }
    }

    /// The lists that only the device knows.
    pub fn device_blocks(&self, shape: &Shape) -> Option<DeviceBlocks> {
        match &self.blocks {
            Some(Blocks::Device(lists)) => Some(*lists),
            Some(Blocks::Select(select)) => Some(select.lists(shape, self)),
            Some(Blocks::Host(_)) | None => None,
        }
    }

    /// How the pairs are cut into blocks, where they are.
    pub(crate) fn block_grid(&self, shape: &Shape) -> Option<BlockGrid> {
        match &self.blocks {
            Some(Blocks::Host(mask)) => Some(*mask.grid()),
            _ => self.device_blocks(shape).map(|lists| lists.grid),
        }
    }

    /// The key index of query 0 in batch `b`, where the host knows it.
    pub fn offset(&self, shape: &Shape, b: u32) -> Option<i64> {
        match &self.q_offset {
            Offsets::BottomRight => Some(i64::from(shape.kv_len) - i64::from(shape.q_len)),
            Offsets::Host(offsets) => offsets.get(b as usize).map(|&x| i64::from(x)),
            Offsets::Device => None,
        }
    }

    /// Whether a query sees no key past its own, but for those of [`Self::prefix_of`].
    pub fn ends_at_own(&self) -> bool {
        self.causal || self.tree.is_some()
    }

    /// The keys of batch `b` that are exempt from `causal`, where the host knows them. Beneath a tree there are none: it
    /// hides keys past a query's own, too.
    pub fn prefix_of(&self, b: u32) -> Option<u32> {
        if self.tree.is_some() {
            return Some(0);
        }
        match &self.prefix {
            Prefix::Same(keys) => Some(*keys),
            Prefix::Host(prefixes) => prefixes.get(b as usize).copied(),
            Prefix::Device => None,
        }
    }

    /// The keys of batch `b`, where the host knows them.
    pub fn len(&self, shape: &Shape, b: u32) -> Option<u32> {
        match &self.kv_lens {
            Lengths::All => Some(shape.kv_len),
            Lengths::Host(lens) => lens.get(b as usize).copied(),
            Lengths::Device => None,
        }
    }
}

//! The sizes of a problem, and how large they may be.

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

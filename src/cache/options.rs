//! The sizes of a cache, and the memory that they take.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::problem::position::{Rotary, check_range, check_xpos};
use crate::problem::{Element, KvAddress, Layout, MAX_LEN, Operand, Pages, Ring, Shape};

/// How sequences lie in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheKind {
    /// Each of `batch` sequences has room for so many tokens of its own.
    Contiguous {
        /// Tokens of a sequence, at most.
        capacity: u32,
    },
    /// Sequences take pages of a pool as they grow, and share those of a common beginning (PagedAttention,
    /// arXiv 2309.06180).
    Paged {
        /// Tokens of a page: a power of two. Kernels look a page up per row: 16 to 256 serve all.
        page_len: u32,
        /// Pages of the pool.
        pages: u32,
        /// Tokens of a sequence, at most.
        capacity: u32,
    },
    /// A layer with a window keeps the tokens that it sees and no more, however long a sequence is.
    Ring {
        /// Tokens at the beginning that are kept for good (StreamingLLM's sinks, arXiv 2309.17453).
        first: u32,
        /// Tokens that a query sees, its own counted in.
        window: u32,
    },
}

/// What a cache is made for: [`KvCacheOptions::new`], then a `with_` per field that differs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KvCacheOptions {
    /// Layers, which share lengths and pages.
    pub layers: u32,
    /// Hkv
    pub kv_heads: u32,
    /// D
    pub head_dim: u32,
    /// Dv
    pub value_dim: u32,
    /// How keys are stored.
    pub k: Element,
    /// How values are stored.
    pub v: Element,
    /// How sequences lie.
    pub kind: CacheKind,
    /// B, sequences that a call computes. A paged cache may hold more.
    pub batch: u32,
    /// Nq, new tokens per sequence and call, at most. A longer prompt is read in parts.
    pub q_len: u32,
    /// New tokens of a call, all sequences together, where its calls are ragged
    /// ([`Problem::cu_seqlens_q`](field@crate::Problem::cu_seqlens_q)): q, k, v and o then hold the new tokens of one sequence
    /// after the other, so that long prompts and single tokens share a call without padding (continuous batching). `None`:
    /// each row of the batch has room for `q_len` of its own.
    pub tokens: Option<u32>,
    /// How keys and queries are rotated.
    pub rotary: Option<Rotary>,
    /// Keys are rotated as they are written, by where they stand: each once, and under a scheme whose angles depend on the
    /// length by what the length was then. Else they are kept as they are and rotated as they are read, all for one length,
    /// the cache's capacity; and in a ring positions then count within the cache
    /// ([`Position::within_cache`](crate::problem::Position::within_cache), StreamingLLM).
    pub rotated: bool,
    /// Keys are stored rotated by Walsh–Hadamard matrices ([`Problem::k_hadamard`](crate::Problem::k_hadamard)): few bits
    /// then lose less where some channels are much larger than others.
    pub k_hadamard: bool,
    /// The same of values.
    pub v_hadamard: bool,
}

setters! {
    KvCacheOptions {
        with_kind(kind: CacheKind);
        with_layers(layers: u32);
        with_value_dim(value_dim: u32);
        with_k(k: Element);
        with_v(v: Element);
        with_batch(batch: u32);
        with_q_len(q_len: u32);
        with_tokens(tokens?: u32);
        with_rotary(rotary?: Rotary);
        with_rotated(rotated: bool);
        with_k_hadamard(k_hadamard: bool);
        with_v_hadamard(v_hadamard: bool);
    }
}

impl KvCacheOptions {
    /// One layer of `kv_heads` heads of `head_dim` channels in f32, one sequence at a time, a token per call.
    pub fn new(kind: CacheKind, kv_heads: u32, head_dim: u32) -> Self {
        Self {
            layers: 1,
            kv_heads,
            head_dim,
            value_dim: head_dim,
            k: Element::F32,
            v: Element::F32,
            kind,
            batch: 1,
            q_len: 1,
            tokens: None,
            rotary: None,
            rotated: true,
            k_hadamard: false,
            v_hadamard: false,
        }
    }

    /// Where rows lie.
    pub fn address(&self) -> KvAddress {
        match self.kind {
            CacheKind::Contiguous { .. } => KvAddress::Strided,
            CacheKind::Paged {
                page_len,
                pages,
                capacity,
            } => KvAddress::Paged(Pages {
                page_len,
                pages,
                per_sequence: capacity.div_ceil(page_len.max(1)),
            }),
            CacheKind::Ring { first, window } => KvAddress::Ring(Ring {
                first,
                // The last of q_len queries may not overwrite what the first one sees.
                len: (window.saturating_add(self.q_len)).saturating_sub(1),
            }),
        }
    }

    /// Tokens that a sequence may have.
    pub fn capacity(&self) -> u32 {
        match self.kind {
            CacheKind::Contiguous { capacity } | CacheKind::Paged { capacity, .. } => capacity,
            CacheKind::Ring { .. } => MAX_LEN,
        }
    }

    /// The sizes of its calls, as many query heads as KV heads.
    pub fn shape(&self) -> Shape {
        Shape {
            batch: self.batch,
            q_heads: self.kv_heads,
            kv_heads: self.kv_heads,
            q_len: self.q_len,
            kv_len: self.capacity(),
            head_dim: self.head_dim,
            value_dim: self.value_dim,
        }
    }

    /// How keys and values of one layer lie.
    pub fn operands(&self) -> [Operand; 2] {
        let [_, heads, rows] = self.address().sizes(&self.shape());
        [(self.k, self.head_dim), (self.v, self.value_dim)].map(|(element, dim)| {
            let layout = Layout::heads_first(heads, rows, element.row_elements(dim));
            Operand::new(element, layout)
        })
    }

    /// Bytes of a layer's keys and values.
    pub(crate) fn layer_bytes(&self) -> [u64; 2] {
        let sizes = self.address().sizes(&self.shape());
        let [k, v] = self.operands();
        [
            k.bytes(sizes, self.head_dim),
            v.bytes(sizes, self.value_dim),
        ]
    }

    /// Bytes of keys and values that a cache of these sizes takes, before it does; beside them come a few per page and
    /// new token.
    ///
    /// # Errors
    ///
    /// Sizes that cannot be, as `Attention::kv_cache` tells them.
    pub fn bytes(&self) -> Result<u64> {
        self.validate()?;
        let layer: u64 = self.layer_bytes().into_iter().sum();
        Ok(layer.saturating_mul(self.layers.into()))
    }

    /// The scheme by which keys are rotated as they are written.
    #[cfg(feature = "wgpu")]
    pub(crate) fn rotary_of_append(&self) -> Option<&Rotary> {
        self.rotary
            .as_ref()
            .filter(|rotary| self.rotated && rotary.rotates())
    }

    /// Positions that calls over keys which are not rotated may come by, and the length that their angles are for.
    pub(crate) fn positions(&self) -> (RangeInclusive<i32>, u32) {
        let new = self.q_len as i32;
        match self.kind {
            CacheKind::Ring { first, window } if self.is_counted_within() => {
                let kept = first.saturating_add(window).min(MAX_LEN);
                (-new..=kept as i32, kept + 1)
            }
            // A sequence that is full may take part without a new token, and the call has room for q_len.
            _ => (0..=self.capacity() as i32 + new - 1, self.capacity()),
        }
    }

    /// Whether positions count within a ring.
    pub(crate) fn is_counted_within(&self) -> bool {
        let rotates = self.rotary.as_ref().is_some_and(Rotary::rotates);
        matches!(self.kind, CacheKind::Ring { .. }) && rotates && !self.rotated
    }

    /// Rows of a layer's new tokens: those of each row of the batch, or of all.
    #[cfg(feature = "wgpu")]
    pub(crate) fn new_rows(&self) -> u64 {
        match self.tokens {
            Some(tokens) => tokens.into(),
            None => u64::from(self.batch) * u64::from(self.q_len),
        }
    }

    /// Pairs of a token's rotary row, where keys are rotated.
    #[cfg(feature = "wgpu")]
    pub(crate) fn rotary_pairs(&self) -> u32 {
        let rotary = self.rotary_of_append();
        rotary.map_or(0, |rotary| {
            rotary.pairs() * (1 + u32::from(rotary.xpos.is_some()))
        })
    }

    pub(crate) fn validate(&self) -> Result<()> {
        for (what, value) in [
            ("layers", self.layers),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("value_dim", self.value_dim),
            ("batch", self.batch),
            ("q_len", self.q_len),
            ("capacity", self.capacity()),
        ] {
            if value == 0 {
                return Err(Error::size(what, value, "at least 1"));
            }
        }
        if let CacheKind::Ring { window: 0, .. } = self.kind {
            return Err(Error::size(
                "window",
                0u32,
                "at least 1, the query's own token",
            ));
        }
        let capacity = self.capacity();
        if capacity > MAX_LEN {
            return Err(Error::size(
                "capacity",
                capacity,
                format!("at most {MAX_LEN}"),
            ));
        }
        if self.q_len > capacity {
            let allowed = format!("at most the capacity of a sequence, {capacity}");
            return Err(Error::size("q_len", self.q_len, allowed));
        }
        self.address().validate(&self.shape())?;
        if self.tokens == Some(0) {
            return Err(Error::size("tokens", 0u32, "at least 1"));
        }
        if let Some(rotary) = &self.rotary {
            rotary.validate()?;
            self.validate_reach(rotary)?;
        }
        let sizes = self.address().sizes(&self.shape());
        let [k, v] = self.operands();
        k.validate_stored("k", sizes, self.head_dim)?;
        v.validate_stored("v", sizes, self.value_dim)
    }

    /// Refuses a scheme that cannot reach every token. Of a ring whose keys are rotated where they stand no end is known.
    fn validate_reach(&self, rotary: &Rotary) -> Result<()> {
        if !rotary.rotates() {
            return Ok(());
        }
        match self.kind {
            _ if !self.rotated => check_range(rotary, &self.positions().0),
            CacheKind::Ring { .. } => Ok(()),
            _ => check_xpos(rotary, &(0..=self.capacity() as i32 - 1)),
        }
    }

    /// The same options but for what a snapshot need not agree in: how many sequences, pages and tokens a call or the cache
    /// holds, and what is said of a rotation that there is not.
    #[cfg(feature = "wgpu")]
    pub(crate) fn of_a_sequence(&self) -> Self {
        let mut options = Self {
            batch: 1,
            tokens: None,
            ..self.clone()
        };
        options.rotary = options.rotary.filter(Rotary::rotates);
        options.rotated |= options.rotary.is_none();
        match &mut options.kind {
            CacheKind::Contiguous { .. } => options.q_len = 1,
            CacheKind::Paged {
                pages, capacity, ..
            } => (*pages, *capacity, options.q_len) = (1, 1, 1),
            // Its room depends on q_len.
            CacheKind::Ring { .. } => {}
        }
        options
    }
}

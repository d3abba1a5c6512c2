//! What a KV cache holds and where: sizes, sequences and pages, all known to the host.
//!
//! The buffers are `KvCache`'s; here is the bookkeeping, which needs no GPU.

mod options;
mod pool;
mod sequences;

pub use options::{CacheKind, KvCacheOptions};
#[cfg(feature = "wgpu")]
pub(crate) use sequences::Span;
pub use sequences::{Moves, Place, Sequence, Sequences, Update};

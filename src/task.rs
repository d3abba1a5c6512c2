//! What can be asked for beside attention: data and its validation.

mod backward;
mod block_scan;
mod embedding;
mod kv_append;
mod merge;
#[cfg(feature = "wgpu")]
mod names;
mod quantization;
mod rotation;

pub use backward::Backward;
pub use block_scan::BlockScan;
pub use embedding::Embedding;
pub use kv_append::KvAppend;
pub use merge::Merge;
pub use quantization::Quantization;
pub use rotation::Rotation;

use crate::problem::Problem;

/// What is planned.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Attention(Box<Problem>),
    Merge(Merge),
    Rotation(Box<Rotation>),
    Embedding(Box<Embedding>),
    KvAppend(Box<KvAppend>),
    Quantization(Box<Quantization>),
    Backward(Box<Backward>),
    Scan(Box<BlockScan>),
}

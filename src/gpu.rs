//! Everything that needs a device: compiling, binding, recording, and bytes up and down.

mod arena;
mod attention;
mod buffers;
mod call;
mod check;
mod constants;
mod download;
mod handles;
mod host;
mod kv_cache;
mod lost;
mod operands;
mod pipelines;
mod rotary_tables;
mod staging;
mod timer;

pub use attention::Attention;
pub use call::Call;
pub use download::download;
pub use host::{Host, Outputs};
pub use kv_cache::{KvCache, Snapshot};
pub use operands::Operands;

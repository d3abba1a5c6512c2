//! Everything that needs a device: compiling, binding, recording, and bytes up and down.

mod arena;
mod attention;
mod binding;
mod buffers;
pub(crate) mod cache_frame;
mod call;
mod caps;
mod check;
mod claim;
mod clock;
mod compile;
mod constants;
mod count;
mod download;
mod driver_cache;
mod first_dispatch;
mod handles;
mod held;
mod host;
mod kv_cache;
mod lost;
mod operands;
mod pipeline_cache;
mod pipelines;
mod rebuild;
mod rotary_tables;
mod run_within;
mod shared;
mod staging;
mod timed;
mod timer;
mod urgency;
mod warm_up;
#[cfg(not(target_arch = "wasm32"))]
mod workers;
// A browser gives wasm no clock that the library could read.
#[cfg(not(target_arch = "wasm32"))]
mod tune;

pub use attention::Attention;
pub use call::Call;
pub use caps::wanted;
pub use download::download;
pub use held::Held;
pub use host::{Host, Outputs};
pub use kv_cache::{KvCache, Snapshot};
pub use operands::Operands;
pub use run_within::RunWithin;
pub use timed::{StepTime, Timed};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Trial, TrialOutcome};
pub use warm_up::{Progress, WarmUp};

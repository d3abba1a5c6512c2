//! Exact block-wise attention on every GPU that WebGPU reaches.
#[cfg(feature = "wgpu")]
mod attention;
#[cfg(feature = "wgpu")]
mod call;
pub mod caps;
pub mod error;
#[cfg(feature = "wgpu")]
mod kernels;
pub mod plan;
pub mod problem;
pub mod shader;
#[cfg(feature = "wgpu")]
mod stage;
#[cfg(feature = "wgpu")]
mod tables;
#[cfg(feature = "wgpu")]
mod timer;

#[cfg(feature = "wgpu")]
pub use attention::Attention;
#[cfg(feature = "wgpu")]
pub use call::{Call, Operands};
pub use caps::Caps;
#[cfg(feature = "wgpu")]
pub use caps::wanted;
pub use error::{Error, Result};
pub use plan::{Choice, Merge, Plan, Rotation};
pub use problem::{Element, Layout, Mask, Problem, Shape};
#[cfg(feature = "wgpu")]
pub use stage::{Host, Outputs, download};
pub mod reference;

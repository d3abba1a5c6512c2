//! Exact attention for long contexts on every GPU that WebGPU reaches, as a guest in your program: it borrows the device,
//! records into your encoder, never blocks and never panics on bad input.
//!
//! ```no_run
//! # #[cfg(feature = "wgpu")]
//! # mod example {
//! use wgpu_attention::{Attention, Element, Mask, Operands, Problem, Shape};
//!
//! async fn record(
//!     adapter: &wgpu::Adapter,
//!     device: &wgpu::Device, // requested with the features and limits of `wgpu_attention::wanted(adapter)`
//!     [q, k, v, o, lse]: [&wgpu::Buffer; 5],
//!     encoder: &mut wgpu::CommandEncoder,
//! ) -> wgpu_attention::Result<()> {
//!     let attention = Attention::with_adapter(adapter, device); // keep it: compiled kernels are its
//!     let shape = Shape::square(1, 8, 4096, 64); // batch, heads, tokens, channels
//!     let problem = Problem::new(shape, Element::F16).with_mask(Mask::causal());
//!
//!     let plan = attention.plan(&problem)?; // chooses: pure, no GPU is touched
//!     println!("{plan}"); // what was chosen, what it costs, what was declined and why
//!     let call = attention.prepare(&plan, &Operands::new(q, k, v, o, lse)).await?; // compiles, checks, binds
//!     call.encode(encoder); // records; submitting is yours
//!     Ok(())
//! }
//! # }
//! ```
//!
//! `Plan::requirements` tells the size and usage that each buffer must have. `Attention::run` does all of it for slices in
//! host memory. A program names the backends of wgpu that it wants: features `vulkan`, `metal`, `dx12`, `gles` and `webgpu`
//! here, or its own dependency on wgpu.
//!
//! # Shapes and units
//!
//! | tensor | shape | element |
//! | --- | --- | --- |
//! | q | `[B, Hq, Nq, D]` | [`Element`]: f32, f16 or bf16 |
//! | k, v | `[B, Hkv, Nk, D]`, `[B, Hkv, Nk, Dv]` | any [`Element`] each, int8 and int4 too; for gradients that of q |
//! | o | `[B, Hq, Nq, Dv]` | f32, f16 or bf16 |
//! | lse | `[B, Hq, Nq]` | f32, natural logarithm |
//!
//! Query head h reads KV head `h / (Hq/Hkv)`. Every one of these has strides and an offset of its own, counted in elements
//! ([`Layout`]); channels are contiguous. Lengths, windows, positions and offsets are counted in tokens, what a [`Plan`] tells
//! of memory in bytes, of work in FLOPs (a multiply-add is two). Numbers are summed in f32.
//!
//! # Conventions
//!
//! Query i of batch b stands at key index `a_b + i`, with `a_b = Nk − Nq` unless [`problem::Mask::q_offset`] says otherwise;
//! `kv_lens` hides keys and never moves the diagonal.
//!
//! A pair is visible when `j < kv_len_b`, and under *causal* `j ≤ a_b + i` or `j < prefix`, and under a *window* (l, r)
//! `a_b + i − l ≤ j ≤ a_b + i + r` or `j < first`; beneath a *tree* ([`problem::Tree`]) `j < a_b`, or key j is that of the
//! query itself or of its ancestor. With `x = scale·τ_i·⟨R q_i, R k_j⟩` and `t = c·tanh(x/c)` (or x) the
//! score is `s = t + bias_ij − slope_h·|p_i − p_j| + T5[bucket(p_j − p_i), h]`, and
//! `lse_i = ln(Σ e^s + e^{z_h})`, `o_i = Σ e^{s − lse}·v_j`. A fully masked row has o = 0 and lse = −∞ (z_h with a
//! sink). [`mod@reference`] is all this in code, in f64.
//!
//! [`speculative`] decides on the host which drafted tokens a model keeps.
//!
//! Without the feature `wgpu` (on by default) the pure half builds alone: [`problem`], [`mod@reference`], [`caps`],
//! [`plan`], [`mod@quantize`] and [`speculative`].

#![deny(missing_docs)]

#[macro_use]
mod setters;

pub mod cache;
pub mod caps;
pub mod error;
#[cfg(feature = "wgpu")]
mod gpu;
// Public in `internal` only, for the crate's own suites.
#[allow(missing_docs)]
mod kernel;
pub mod plan;
pub mod problem;
pub mod quantize;
pub mod reference;
#[allow(missing_docs)]
mod shader;
pub mod speculative;
mod task;
pub mod tuning;

pub use cache::{CacheKind, KvCacheOptions, Sequence};
pub use caps::Caps;
pub use error::{Error, Result};
#[cfg(feature = "wgpu")]
pub use gpu::{
    Attention, Call, Held, Host, KvCache, Operands, Outputs, Progress, RunWithin, Snapshot,
    StepTime, Timed, WarmUp, download, wanted,
};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use gpu::{Trial, TrialOutcome};
pub use kernel::Tiling;
pub use plan::{Budget, Plan, PlanOptions};
pub use problem::{Element, Layout, Mask, Problem, Role, Shape};
pub use tuning::Tuning;
/// The version of wgpu whose handles this crate takes.
#[cfg(feature = "wgpu")]
pub use wgpu;

pub use task::{Backward, BlockScan, Embedding, KvAppend, Merge, Quantization, Rotation};

/// What the crate's own test suites look at; no part of its interface.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "wgpu")]
    pub use crate::gpu::cache_frame::{framed, unframed};
    pub use crate::kernel::*;
    pub use crate::plan::{Load, Pace, Slicer};
    pub use crate::shader::*;
}

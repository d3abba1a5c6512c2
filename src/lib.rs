//! Exact block-wise attention for long contexts on every GPU that WebGPU reaches, as a guest in your program: it
//! borrows the device, records into your encoder, never blocks and never panics on bad input.
//!
//! Three steps: `Attention::plan` chooses (pure), `Attention::prepare` compiles, checks and binds, and
//! `Call::encode` records. `Attention::run` does all of it for slices in host memory.
//!
//! # Conventions
//!
//! q `[B, Hq, Nq, D]`, k `[B, Hkv, Nk, D]`, v `[B, Hkv, Nk, Dv]`, o `[B, Hq, Nq, Dv]`, lse `[B, Hq, Nq]` (f32, natural
//! logarithm). Query head h reads KV head `h / (Hq/Hkv)`. Query i of batch b stands at key index `a_b + i`, with
//! `a_b = Nk − Nq` unless [`problem::Mask::q_offset`] says otherwise; `kv_lens` hides keys and never moves the diagonal.
//!
//! A pair is visible when `j < kv_len_b`, and under *causal* `j ≤ a_b + i` or `j < prefix`, and under a *window* (l, r)
//! `a_b + i − l ≤ j ≤ a_b + i + r` or `j < first`. With `x = scale·τ_i·⟨R q_i, R k_j⟩` and `t = c·tanh(x/c)` (or x) the
//! score is `s = t + bias_ij − slope_h·|p_i − p_j| + T5[bucket(p_j − p_i), h]`, and
//! `lse_i = ln(Σ e^s + e^{z_h})`, `o_i = Σ e^{s − lse}·v_j`. A row without visible keys has o = 0 and lse = −∞ (z_h with a
//! sink). [`mod@reference`] is all this in code, in f64.
//!
//! Without the feature `wgpu` (on by default) the pure half builds alone: [`problem`], [`mod@reference`], [`caps`], [`plan`]
//! and [`shader`].

#[cfg(feature = "wgpu")]
mod attention;
#[cfg(feature = "wgpu")]
mod call;
pub mod caps;
#[cfg(feature = "wgpu")]
mod check;
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
pub use plan::{Backward, BlockScan, Choice, Embedding, Merge, Plan, Rotation};
pub use problem::{Element, Layout, Mask, Problem, Shape};
#[cfg(feature = "wgpu")]
pub use stage::{Host, Outputs, download};
pub mod reference;

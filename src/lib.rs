//! Exact block-wise attention on every GPU that WebGPU reaches.
pub mod error;
pub mod problem;
pub mod reference;

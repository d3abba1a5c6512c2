//! Everything that needs no GPU.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "wgpu")]
mod binding;
mod cache;
#[cfg(feature = "wgpu")]
mod cache_frame;
mod cascade;
mod check;
mod composition;
mod covering;
mod dense_mask;
mod drawn;
mod explain;
mod extremes;
mod forced;
#[cfg(feature = "wgpu")]
mod handles;
mod kv_address;
mod layout;
#[cfg(feature = "wgpu")]
mod lost;
mod max_score;
#[cfg(feature = "wgpu")]
mod memory;
mod mods;
mod planning;
mod portability;
mod positions;
mod quantize;
mod quirks;
mod ragged;
mod ranges;
mod reference;
mod slices;
mod sparse;
mod speculative;
mod splits;
mod table;
mod tools;
mod tools_catch;
mod tree;
mod tuning;
mod wide;

//! Everything that needs no GPU.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "wgpu")]
mod binding;
mod check;
mod composition;
mod covering;
mod drawn;
mod extremes;
mod forced;
mod layout;
mod mods;
mod planning;
mod portability;
mod positions;
mod ranges;
mod reference;
mod sparse;
mod table;
mod tools;
mod tools_catch;

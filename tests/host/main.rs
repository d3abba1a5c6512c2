//! Everything that needs no GPU.

#[path = "../support/mod.rs"]
mod support;

mod positions;
mod reference;
mod table;

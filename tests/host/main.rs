//! Everything that needs no GPU.

#[path = "../support/mod.rs"]
mod support;

mod reference;
mod table;

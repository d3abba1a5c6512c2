//! Everything that needs no GPU.

#[path = "../support/mod.rs"]
mod support;

mod covering;
mod portability;
mod positions;
mod reference;
mod table;
mod tools;
mod tools_catch;

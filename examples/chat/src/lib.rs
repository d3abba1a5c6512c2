//! A pretrained language model whose attention and cache are the library's; its other products run on the CPU.
//!
//! `main.rs` is the program, see `chat --help`; `generate` is the loop, `attention` the part that shows how the library
//! is used.

#[path = "../../attend/src/adapter.rs"]
pub mod adapter;
pub mod attention;
pub mod blocks;
mod buffers;
pub mod cache;
mod calls;
pub mod check;
pub mod config;
#[path = "../../support/device.rs"]
pub mod device;
pub mod draft;
pub mod generate;
pub mod gguf;
pub mod model;
pub mod plain;
mod products;
pub mod prompt;
pub mod sample;
pub mod tokenizer;
mod weights;

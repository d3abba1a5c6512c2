//! The program `chat` and what it is made of, on a tiny model of fixed random weights, and on SmolLM2 where its file is
//! in `target/models`. Needs an adapter, software is fine.

mod bad_input;
mod logits;
mod options;
mod parts;
mod real;
mod tiny;
mod tokens;
mod tool;

//! What the test binaries share. Each uses its own part of it.
#![allow(dead_code)]

pub mod backward;
pub mod cases;
pub mod compare;
pub mod covering;
pub mod drawn;
pub mod forward;
pub mod golden;
pub mod inputs;
pub mod parameters;
pub mod plain;
pub mod probes;
pub mod ragged;
pub mod rotary;
pub mod rounding;
pub mod tensor;
pub mod variants;

//! What the test binaries share. Each uses its own part of it.
#![allow(dead_code)]

pub mod cases;
pub mod compare;
pub mod golden;
pub mod inputs;
pub mod plain;
pub mod rotary;
pub mod tensor;

//! How far a model goes beyond the context it was trained for, measured.
//!
//! [`attention`] is the file for authors of frameworks: this library's attention as an operation of another one's
//! automatic differentiation.

pub mod adam;
pub mod approximate;
pub mod attention;
pub mod effort;
pub mod fine_tune;
pub mod kept;
pub mod longrope;
pub mod measure;
pub mod model;
pub mod passkey;
pub mod picture;
pub mod real;
pub mod scheme;
pub mod spread;
pub mod text;
pub mod train;
pub mod zero_shot;

//! How far a model goes beyond the context it was trained for, measured.
//!
//! [`attention`] is the file for authors of frameworks: this library's attention as an operation of another one's
//! automatic differentiation.

pub mod adam;
pub mod attention;
pub mod measure;
pub mod model;
pub mod scheme;
pub mod text;
pub mod train;

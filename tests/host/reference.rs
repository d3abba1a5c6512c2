//! The oracle, held against what is known without it.

mod closed_form;
mod gradients;
mod masks;
mod merge;
mod published;

use wgpu_attention::problem::{Element, Problem, Shape};

/// One batch and head, f32.
fn problem(q_len: u32, kv_len: u32, head_dim: u32, value_dim: u32) -> Problem {
    let shape = Shape {
        kv_len,
        value_dim,
        ..Shape::square(1, 1, q_len, head_dim)
    };
    Problem::new(shape, Element::F32)
}

#[track_caller]
fn assert_near(got: f64, want: f64, tolerance: f64) {
    assert!(
        (got - want).abs() <= tolerance,
        "{got} is not within {tolerance:e} of {want}"
    );
}

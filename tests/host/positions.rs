//! Position schemes without a GPU: frequencies against published configurations, tables against f64, bad input.

mod absolute;
mod bad_input;
mod bias;
mod config;
mod families;
mod fields;
mod golden;
mod layers;
mod rotation;
mod table;

use super::support::rotary;
use super::support::rotary::{kinds, llama3, long_rope, relative_error, vector};
use wgpu_attention::error::Error;
use wgpu_attention::problem::position::{
    Growth, Llama3, Precision, RopeKind, Rotary, RotaryLayout, Side, Table, Temperature, XPos, Yarn,
};
use wgpu_attention::problem::{Layout, Positions, T5, Values, alibi_slopes};
use wgpu_attention::{Element, Problem, Shape};

const DIM: u32 = 64;
/// What length-dependent kinds are asked for in tests that do not vary it.
const LENGTH: u32 = 8192;

/// Every kind, in both layouts and precisions, with and without xPos about `centre`.
fn rotaries(centre: i32) -> Vec<(String, Rotary)> {
    let mut all = Vec::new();
    for (name, kind) in kinds(DIM) {
        let plain = Rotary::new(DIM).with_kind(kind);
        for precision in [Precision::Exact, Precision::AsTrained] {
            for layout in [RotaryLayout::Half, RotaryLayout::Interleaved] {
                for xpos in [None, Some(XPos::new(centre))] {
                    let name = format!("{name} {precision:?} {layout:?} {xpos:?}");
                    let rotary = plain
                        .clone()
                        .with_precision(precision)
                        .with_layout(layout)
                        .with_xpos(xpos);
                    all.push((name, rotary));
                }
            }
        }
    }
    all
}

/// Rotates x by a table's row with a shader's arithmetic, f32 throughout; `back` transposes the rotation.
fn rotate_f32(rotary: &Rotary, x: &[f32], row: &[[f32; 2]], back: bool) -> Vec<f32> {
    let mut y = x.to_vec();
    for (i, &[cos, sin]) in (0u32..).zip(row) {
        let (a, b) = rotary.channels(i);
        let (a, b) = (a as usize, b as usize);
        let sin = if back { -sin } else { sin };
        y[a] = x[a] * cos - x[b] * sin;
        y[b] = x[a] * sin + x[b] * cos;
    }
    y
}

/// The definition, for a context of [`LENGTH`].
fn rotate_f64(rotary: &Rotary, x: &[f32], p: i32, side: Side) -> Vec<f64> {
    rotary::rotate(rotary, x, p, side, LENGTH)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

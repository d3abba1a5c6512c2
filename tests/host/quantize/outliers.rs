//! What rows of few bits cost the answer, and what Hadamard rotations save of it: the table of docs/generation.md.

use wgpu_attention::quantize::{dequantize, hadamard, quantize};
use wgpu_attention::reference::{Tensors, forward};
use wgpu_attention::{Element, Problem, Shape};

use crate::support::tensor::normal;

const DIM: u32 = 128;
const KEYS: u32 = 512;

/// Standard normal rows, of which four channels are 20 times as large.
fn rows(seed: u64, count: u32, outliers: bool) -> Vec<f64> {
    let values = normal(seed, (count * DIM) as usize).into_iter().enumerate();
    let scaled = values.map(|(n, x)| match outliers && n % DIM as usize % 32 == 5 {
        true => 20.0 * x,
        false => x,
    });
    scaled.collect()
}

fn stored(element: Element, rows: &[f64], rotated: bool) -> Vec<f64> {
    let mut rows: Vec<f32> = rows.iter().map(|&x| x as f32).collect();
    if rotated {
        hadamard(&mut rows, DIM).expect("even rows");
    }
    let words = quantize(element, &rows, DIM).expect("whole rows");
    let rows = dequantize(element, &words, DIM).expect("whole rows");
    rows.into_iter().map(f64::from).collect()
}

/// The error of o in units of its RMS, with outliers in k and in v, rotated or not.
fn error(element: Element, [k_outliers, v_outliers]: [bool; 2], rotated: bool) -> f64 {
    let shape = Shape {
        q_len: 32,
        ..Shape::square(1, 1, KEYS, DIM)
    };
    let mut problem = Problem::new(shape, Element::F32);
    let (q, k, v) = (
        rows(1, 32, false),
        rows(2, KEYS, k_outliers),
        rows(3, KEYS, v_outliers),
    );
    let want = forward(&problem, &Tensors::new(&q, &k, &v)).o;
    let (k, v) = (stored(element, &k, rotated), stored(element, &v, rotated));
    (problem.k_hadamard, problem.v_hadamard) = (rotated, rotated);
    let got = forward(&problem, &Tensors::new(&q, &k, &v)).o;
    let square = |x: f64| x * x;
    let errors: f64 = got.iter().zip(&want).map(|(x, y)| square(x - y)).sum();
    let all: f64 = want.iter().map(|&x| square(x)).sum();
    (errors / all).sqrt()
}

#[test]
fn hadamard_pays_where_channels_differ() {
    let data = [
        ("normal", [false, false], 0.0..1.2),
        ("outliers in k", [true, false], 0.0..0.6),
        ("outliers in v", [false, true], 0.0..1.2),
        ("outliers in k and v", [true, true], 0.0..0.9),
    ];
    for element in Element::QUANTIZED {
        for (name, outliers, ratio) in data.clone() {
            let plain = error(element, outliers, false);
            let rotated = error(element, outliers, true);
            println!("| {element} | {name} | {plain:.4} | {rotated:.4} |");
            if element == Element::Int4 {
                let found = rotated / plain;
                assert!(ratio.contains(&found), "{name}: {plain} and {rotated}");
            }
        }
    }
}

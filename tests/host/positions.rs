//! Position schemes without a GPU: frequencies against published configurations, tables against f64, bad input.

mod absolute;
mod bad_input;
mod bias;
mod config;
mod golden;
mod rotation;
mod table;

use wgpu_attention::error::Error;
use wgpu_attention::problem::position::{
    Growth, Llama3, LongRope, Precision, RopeKind, Rotary, RotaryLayout, Side, Table, Temperature,
    XPos, Yarn,
};
use wgpu_attention::problem::{T5, alibi_slopes};

const DIM: u32 = 64;
/// What length-dependent kinds are asked for in tests that do not vary it.
const LENGTH: u32 = 8192;

/// One of each kind of frequencies, by name.
fn kinds() -> Vec<(&'static str, RopeKind)> {
    let pairs = DIM as usize / 2;
    let factor = 8.0;
    let original = 2048;
    vec![
        ("default", RopeKind::Default),
        ("linear", RopeKind::Linear { factor }),
        ("ntk", RopeKind::NtkAware { factor }),
        ("dynamic", RopeKind::DynamicNtk { factor, original }),
        ("yarn", RopeKind::Yarn(Yarn::new(factor, original))),
        (
            "yarn by DeepSeek",
            RopeKind::Yarn(Yarn {
                truncate: false,
                mscale: Some(1.0),
                mscale_all_dim: Some(0.7),
                ..Yarn::new(factor, original)
            }),
        ),
        ("longrope", RopeKind::LongRope(long_rope(pairs))),
        ("llama3", RopeKind::Llama3(llama3())),
        (
            "proportional",
            RopeKind::Proportional {
                factor: 1.0,
                fraction: 0.25,
            },
        ),
        (
            "custom",
            RopeKind::Custom {
                inv_freq: (0..pairs).map(|i| 1.5 / (1.0 + i as f64)).collect(),
                attention_factor: 1.25,
            },
        ),
    ]
}

fn long_rope(pairs: usize) -> LongRope {
    LongRope {
        short_factor: (0..pairs).map(|i| 1.0 + 0.01 * i as f64).collect(),
        long_factor: (0..pairs).map(|i| 1.0 + i as f64).collect(),
        factor: 32.0,
        original: 4096,
        attention_factor: None,
    }
}

fn llama3() -> Llama3 {
    Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original: 8192,
    }
}

/// Every kind, in both layouts and precisions, with and without xPos about `centre`.
fn rotaries(centre: i32) -> Vec<(String, Rotary)> {
    let mut all = Vec::new();
    for (name, kind) in kinds() {
        let plain = Rotary::new(DIM).with_kind(kind);
        for precision in [Precision::Exact, Precision::AsTrained] {
            for layout in [RotaryLayout::Half, RotaryLayout::Interleaved] {
                for xpos in [None, Some(XPos::new(centre))] {
                    let name = format!("{name} {precision:?} {layout:?} {xpos:?}");
                    let rotary = Rotary {
                        precision,
                        layout,
                        xpos,
                        ..plain.clone()
                    };
                    all.push((name, rotary));
                }
            }
        }
    }
    all
}

/// A repeatable vector of standard-ish numbers.
fn vector(len: u32, seed: u32) -> Vec<f32> {
    let value = |i: u32| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.5 - 1.0;
    (0..len).map(value).collect()
}

/// Turns x by a table's row with a shader's arithmetic, f32 throughout; `back` transposes the rotation.
fn turn_f32(rotary: &Rotary, x: &[f32], row: &[[f32; 2]], back: bool) -> Vec<f32> {
    let mut y = x.to_vec();
    for (i, &[cos, sin]) in (0u32..).zip(row) {
        let (a, b) = rotary.layout.channels(i, rotary.dim);
        let (a, b) = (a as usize, b as usize);
        let sin = if back { -sin } else { sin };
        y[a] = x[a] * cos - x[b] * sin;
        y[b] = x[a] * sin + x[b] * cos;
    }
    y
}

/// The definition in f64: pair i turns by p·θ_i, times m and xPos's power.
fn turn_f64(rotary: &Rotary, x: &[f32], p: i32, side: Side) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for (i, theta) in (0u32..).zip(rotary.inv_freq(LENGTH).unwrap()) {
        let (a, b) = rotary.layout.channels(i, rotary.dim);
        let (a, b) = (a as usize, b as usize);
        let angle = match rotary.precision {
            Precision::Exact => f64::from(p) * theta,
            Precision::AsTrained => f64::from(p as f32 * theta as f32),
        };
        let zeta = (2.0 * f64::from(i) / f64::from(rotary.dim) + 0.4) / 1.4;
        let power = match (rotary.xpos, side) {
            (None, _) => 0.0,
            (Some(xpos), Side::Query) => f64::from(p - xpos.centre) / 512.0,
            (Some(xpos), Side::Key) => -f64::from(p - xpos.centre) / 512.0,
        };
        let m = rotary.attention_factor() * zeta.powf(power);
        let (xa, xb) = (y[a], y[b]);
        y[a] = m * (xa * angle.cos() - xb * angle.sin());
        y[b] = m * (xa * angle.sin() + xb * angle.cos());
    }
    y
}

fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    let norm = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = actual.iter().zip(expected);
    norm(&mut pairs.map(|(&a, e)| f64::from(a) - e)) / norm(&mut expected.iter().copied())
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

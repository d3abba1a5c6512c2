//! One of each kind of rotation, and the definition of a rotated row.

use wgpu_attention::problem::position::{
    Llama3, LongRope, Precision, RopeKind, Rotary, Side, Yarn,
};

/// One of each kind of frequencies, by name.
pub fn kinds(dim: u32) -> Vec<(&'static str, RopeKind)> {
    let pairs = dim as usize / 2;
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
            RopeKind::Yarn(
                Yarn::new(factor, original)
                    .with_truncate(false)
                    .with_mscale(1.0)
                    .with_mscale_all_dim(0.7),
            ),
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

pub fn long_rope(pairs: usize) -> LongRope {
    LongRope::new(
        (0..pairs).map(|i| 1.0 + 0.01 * i as f64).collect(),
        (0..pairs).map(|i| 1.0 + i as f64).collect(),
        32.0,
        4096,
    )
}

pub fn llama3() -> Llama3 {
    Llama3::new(8.0, 8192)
}

/// A repeatable vector of standard-ish numbers.
pub fn vector(len: u32, seed: u32) -> Vec<f32> {
    let value = |i: u32| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.5 - 1.0;
    (0..len).map(value).collect()
}

/// The definition in f64: pair i rotates by p·θ_i, times m and xPos's power, in a context of `length` tokens.
pub fn rotate(rotary: &Rotary, x: &[f32], p: i32, side: Side, length: u32) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for (i, theta) in (0u32..).zip(rotary.inv_freq(length).unwrap()) {
        let (a, b) = rotary.layout.channels(i, rotary.dim);
        let (a, b) = (rotary.start + a, rotary.start + b);
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

/// ‖actual − expected‖ / ‖expected‖
pub fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    let norm = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = actual.iter().zip(expected);
    norm(&mut pairs.map(|(&a, e)| f64::from(a) - e)) / norm(&mut expected.iter().copied())
}

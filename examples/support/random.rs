//! Standard normal operands.

use half::{bf16, f16};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use wgpu_attention::{Element, Shape};

/// q, k and v of a shape, contiguous, as bytes of `element`. The same seed gives the same values.
pub fn operands(shape: &Shape, element: Element, seed: u64) -> [Vec<u8>; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let keys = [shape.batch, shape.kv_heads, shape.kv_len];
    let queries = [shape.batch, shape.q_heads, shape.q_len];
    [
        (queries, shape.head_dim),
        (keys, shape.head_dim),
        (keys, shape.value_dim),
    ]
    .map(|(rows, dim)| normal(elements(rows, dim), element, &mut rng))
}

/// dO of a shape, contiguous, as bytes of `element`; of the same seed, but not the numbers of [`operands`].
#[allow(dead_code)] // Only where gradients are asked for.
pub fn gradient(shape: &Shape, element: Element, seed: u64) -> Vec<u8> {
    let rows = [shape.batch, shape.q_heads, shape.q_len];
    let mut rng = StdRng::seed_from_u64(!seed);
    normal(elements(rows, shape.value_dim), element, &mut rng)
}

fn elements(rows: [u32; 3], dim: u32) -> usize {
    rows.iter().map(|&n| n as usize).product::<usize>() * dim as usize
}

fn normal(count: usize, element: Element, rng: &mut impl Rng) -> Vec<u8> {
    let values = (0..count).map(|_| rng.sample::<f32, _>(StandardNormal));
    match element {
        Element::F32 => values.flat_map(f32::to_le_bytes).collect(),
        Element::F16 => values
            .flat_map(|x| f16::from_f32(x).to_le_bytes())
            .collect(),
        Element::BF16 => values
            .flat_map(|x| bf16::from_f32(x).to_le_bytes())
            .collect(),
        _ => unreachable!("{element} is no float: rows with scales are made of floats"),
    }
}

//! Problems drawn by a seed, over every feature at once: for the planner's properties and for the fuzzer.

pub mod device;
mod layout;
pub mod mask;
pub mod options;
mod position;
mod score;
pub mod storage;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wgpu_attention::problem::{Element, Mods, Problem, Shape, Slice};

use super::cases::{Case, DeviceValues};

/// A seeded source of choices.
pub struct Draw(StdRng);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number of the range, all equally likely.
    pub fn of(&mut self, range: std::ops::RangeInclusive<i32>) -> i32 {
        self.0.random_range(range)
    }

    /// The same, for sizes.
    pub fn size(&mut self, least: u32, most: u32) -> u32 {
        self.0.random_range(least..=most)
    }

    pub fn number(&mut self, least: f64, most: f64) -> f64 {
        self.0.random_range(least..=most)
    }

    pub fn word(&mut self) -> u64 {
        self.0.random()
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.0.random_range(0..n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())].clone()
    }
}

/// How large a drawn problem may be.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub len: u32,
    /// A multiple of 4.
    pub dim: u32,
    /// Least numbers of o: errors are relative to the answer's root mean square, which few numbers make tiny.
    pub outputs: u32,
}

/// Sizes on either side of the tiles that kernels use.
const EDGES: [u32; 14] = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65];
const DIMS: [u32; 10] = [64, 80, 96, 112, 128, 160, 192, 256, 512, 576];

/// A case of a seed. Its problem is legal, but for what a device may lack.
pub fn case(draw: &mut Draw, extent: Extent) -> Case {
    let shape = shape(draw, extent);
    let mut case = Case {
        name: String::new(),
        problem: Problem::new(shape, draw.pick(&Element::ALL)),
        packed: false,
        kv_lens: None,
        q_offset: None,
        values: DeviceValues::default(),
    };
    if draw.one_in(3) {
        case.problem.o.element = draw.pick(&Element::ALL);
    }
    if draw.one_in(6) {
        case.problem.scale = Some(draw.number(-0.5, 0.7) as f32);
    }
    layout::draw(draw, &mut case);
    mask::draw(draw, &mut case);
    score::draw(draw, &mut case);
    position::draw(draw, &mut case);
    if draw.one_in(6) {
        case.problem.slice = Some(slice(draw, &shape));
    }
    case
}

fn shape(draw: &mut Draw, extent: Extent) -> Shape {
    let len = |draw: &mut Draw| match draw.size(0, 9) {
        0..=3 => draw.pick(&EDGES).min(extent.len),
        4..=8 => draw.size(1, extent.len),
        _ => draw.size(1, 4),
    };
    let dim = |draw: &mut Draw| match draw.size(0, 5) {
        0 => draw.pick(&DIMS).min(extent.dim),
        1 => draw.size(1, extent.dim),
        2..=4 => 4 * draw.size(1, extent.dim.min(64) / 4),
        _ => draw.size(1, 20.min(extent.dim)),
    };
    let (q_len, kv_len) = (len(draw), len(draw));
    let head_dim = dim(draw);
    let value_dim = if draw.one_in(2) { head_dim } else { dim(draw) };
    let (kv_heads, group) = (draw.size(1, 3), draw.pick(&[1, 1, 2, 3, 4]));
    let batch = draw.size(1, 2);
    let outputs = batch * kv_heads * group * q_len * value_dim;
    Shape {
        batch: batch * extent.outputs.div_ceil(outputs),
        q_heads: kv_heads * group,
        kv_heads,
        q_len,
        kv_len: if draw.one_in(4) { q_len } else { kv_len },
        head_dim,
        value_dim,
    }
}

fn slice(draw: &mut Draw, shape: &Shape) -> Slice {
    let mut part = |len: u32| {
        let (a, b) = (draw.size(0, len), draw.size(0, len));
        a.min(b)..a.max(b)
    };
    Slice {
        q: part(shape.q_len),
        k: part(shape.kv_len),
    }
}

/// A `mask_mod` for problems whose answers nobody computes.
pub fn mask_mod() -> Mods {
    Mods::new("fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i ^ j) % 3u != 0u; }")
        .expect("a sound text")
}

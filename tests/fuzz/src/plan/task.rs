//! What is asked of the planner: legal at first, then spoilt here and there.

use wgpu_attention::problem::position::{RopeKind, Rotary};
use wgpu_attention::problem::{
    BlockGrid, Blocks, DeviceBlocks, Lengths, Mods, Offsets, Operand, Positions, Segments, Select,
    Shape, Slice, T5, T5Bias, Tree, Values, Window,
};
use wgpu_attention::{
    Backward, BlockScan, Element, Embedding, KvAppend, Merge, Problem, Quantization, Rotation,
};

use super::cached;
use crate::support::drawn::{Draw, Extent, case, mask_mod};

pub const ELEMENTS: [Element; 5] = [
    Element::F32,
    Element::F16,
    Element::BF16,
    Element::Int8,
    Element::Int4,
];

#[derive(Debug)]
pub enum Task {
    Attention(Problem),
    Backward(Backward),
    Merge(Merge),
    Rotation(Rotation),
    Embedding(Embedding),
    Append(KvAppend),
    Quantization(Quantization),
    Scan(BlockScan),
}

pub fn draw(draw: &mut Draw) -> Task {
    match draw.size(0, 9) {
        0..=3 => Task::Attention(problem(draw)),
        4..=6 => Task::Backward(backward(draw)),
        7 => Task::Merge(merge(draw)),
        8 if draw.one_in(3) => Task::Append(cached::append(draw)),
        8 if draw.one_in(2) => Task::Rotation(rotation(draw)),
        8 if draw.one_in(2) => Task::Embedding(embedding(draw)),
        8 => Task::Quantization(quantization(draw)),
        _ => Task::Scan(scan(draw)),
    }
}

fn problem(draw: &mut Draw) -> Problem {
    let extent = Extent {
        len: 300,
        dim: 576,
        outputs: 1,
    };
    let mut p = case(draw, extent).problem;
    if draw.one_in(2) {
        sizes(draw, &mut p);
    }
    for operand in [&mut p.q, &mut p.k, &mut p.v, &mut p.o] {
        spoil(draw, operand);
    }
    if draw.rarely() {
        p.scale = Some(draw.absurd_float());
    }
    if draw.one_in(2) {
        mask(draw, &mut p);
    }
    if draw.one_in(2) {
        score(draw, &mut p);
    }
    if draw.rarely() {
        position(draw, &mut p);
    }
    if draw.rarely() {
        let [a, b, c, d] = [(); 4].map(|()| draw.near(0, 300));
        p.slice = Some(Slice { q: a..b, k: c..d });
    }
    if draw.rarely() {
        cached::problem(draw, &mut p);
    }
    p.mods = draw.one_in(6).then(|| mods(draw));
    p
}

/// Other sizes, with operands to fit.
fn sizes(draw: &mut Draw, p: &mut Problem) {
    let s = p.shape;
    let mut near = |size: u32| if draw.rarely() { draw.absurd() } else { size };
    let shape = Shape {
        batch: near(s.batch),
        q_heads: near(s.q_heads),
        kv_heads: near(s.kv_heads),
        q_len: near(s.q_len),
        kv_len: near(s.kv_len),
        head_dim: near(s.head_dim),
        value_dim: near(s.value_dim),
    };
    let fresh = Problem::new(shape, p.q.element);
    (p.shape, p.q, p.k, p.v, p.o) = (shape, fresh.q, fresh.k, fresh.v, fresh.o);
}

pub fn spoil(draw: &mut Draw, operand: &mut Operand) {
    if draw.one_in(8) {
        operand.layout = draw.absurd_layout(operand.layout);
    }
    if draw.one_in(20) {
        operand.element = draw.pick(&ELEMENTS);
    }
}

fn mask(draw: &mut Draw, p: &mut Problem) {
    let shape = p.shape;
    let few = |n: u32| n.min(9) as usize;
    p.mask.prefix = draw.absurd().into();
    p.mask.first = draw.absurd();
    let mut side = || (!draw.rarely()).then(|| draw.absurd());
    p.mask.window = Some(Window {
        left: side(),
        right: side(),
    });
    match draw.size(0, 6) {
        0 => p.mask.kv_lens = Lengths::Host((0..few(shape.batch)).map(|_| draw.absurd()).collect()),
        1 => {
            let offsets = (0..few(shape.batch)).map(|_| draw.absurd_int()).collect();
            p.mask.q_offset = Offsets::Host(offsets);
        }
        2 => (p.mask.kv_lens, p.mask.q_offset) = (Lengths::Device, Offsets::Device),
        3 => p.mask.segments = Some(Segments::Device),
        4 => p.mask.tree = Some(Tree::Device),
        5 => {
            let parents = shape.batch.saturating_mul(shape.q_len).min(130);
            let parents = (0..parents).map(|n| draw.near(0, n % shape.q_len.max(1)) as i32 - 1);
            p.mask.tree = Some(Tree::Host(parents.collect()));
        }
        _ => p.mask.blocks = Some(blocks(draw, &shape)),
    }
}

fn grid(draw: &mut Draw, shape: &Shape) -> BlockGrid {
    let mut grid = BlockGrid::of(draw.pick(&[16, 32, 64, 128, 0, 1, 8, 256, u32::MAX]), shape);
    if draw.rarely() {
        (grid.batch, grid.heads) = (draw.absurd(), draw.absurd());
    }
    if draw.rarely() {
        (grid.q_len, grid.kv_len) = (draw.absurd(), draw.absurd());
    }
    grid
}

fn blocks(draw: &mut Draw, shape: &Shape) -> Blocks {
    let grid = grid(draw, shape);
    let capacity = draw.near(1, grid.kv_blocks().max(1));
    if draw.one_in(2) {
        return Blocks::Device(DeviceBlocks::new(grid, capacity));
    }
    let mut select = Select::new(grid.side, capacity);
    (select.local, select.written) = (draw.near(0, 3), draw.one_in(2));
    Blocks::Select(select)
}

fn score(draw: &mut Draw, p: &mut Problem) {
    let heads = p.shape.q_heads.min(9) as usize;
    let mut values = |count: usize| match draw.one_in(3) {
        true => Values::Device,
        false => Values::Host((0..count).map(|_| draw.absurd_float()).collect()),
    };
    let (slopes, sinks, table) = (values(heads), values(heads), values(8 * heads));
    match draw.size(0, 4) {
        0 => p.score.softcap = Some(draw.absurd_float()),
        1 => {
            let layout = p.score.bias.unwrap_or(p.q.layout);
            p.score.bias = Some(draw.absurd_layout(layout));
            p.score.bias_element = draw.pick(&Element::ALL);
        }
        2 => (p.score.slopes, p.score.slopes_per_batch) = (Some(slopes), draw.one_in(3)),
        3 => p.score.sinks = Some(sinks),
        _ => {
            let mut buckets = T5::causal();
            (buckets.buckets, buckets.distance) = (draw.near(8, 8), draw.near(9, 200));
            p.score.t5 = Some(T5Bias::new(buckets, table));
        }
    }
}

pub fn rotary(draw: &mut Draw, head_dim: u32) -> Rotary {
    let mut rotary = Rotary::new(head_dim);
    if draw.rarely() {
        rotary.dim = draw.absurd();
    }
    if draw.rarely() {
        rotary.start = draw.absurd();
    }
    if draw.rarely() {
        rotary.base = draw.absurd_float().into();
    }
    let factor = f64::from(draw.absurd_float());
    rotary.kind = draw.pick(&[
        RopeKind::Default,
        RopeKind::Nope,
        RopeKind::Linear { factor },
        RopeKind::NtkAware { factor },
        RopeKind::DynamicNtk {
            factor,
            original: 1000,
        },
        RopeKind::Custom {
            inv_freq: vec![factor; head_dim as usize % 300 / 2],
            attention_factor: factor,
        },
    ]);
    rotary
}

fn positions(draw: &mut Draw, count: u64) -> Positions {
    match draw.size(0, 2) {
        0 => Positions::Host((0..count.min(2000)).map(|_| draw.absurd_int()).collect()),
        1 => Positions::Device,
        _ => Positions::Index,
    }
}

fn position(draw: &mut Draw, p: &mut Problem) {
    let s = p.shape;
    p.position.rotary = (!draw.rarely()).then(|| rotary(draw, s.head_dim));
    p.position.k_rotated = draw.rarely();
    p.position.length = draw.one_in(2).then(|| draw.absurd());
    let of = |len: u32| u64::from(s.batch) * u64::from(len);
    p.position.q_positions = positions(draw, of(s.q_len));
    p.position.k_positions = positions(draw, of(s.kv_len));
    p.position.range = draw
        .one_in(2)
        .then(|| draw.absurd_int()..=draw.absurd_int());
}

fn mods(draw: &mut Draw) -> Mods {
    let mods = mask_mod();
    match draw.rarely() {
        true => mods.with_iterations(draw.absurd()),
        false => mods,
    }
}

fn backward(draw: &mut Draw) -> Backward {
    let problem = problem(draw);
    let score = problem.score.clone();
    let mut backward = Backward::new(problem, draw.pick(&Element::ALL));
    let mut asks = |there: bool| if draw.one_in(10) { !there } else { there };
    backward.dlse = asks(true);
    backward.dbias = asks(score.bias.is_some());
    backward.dslopes = asks(score.slopes.is_some());
    backward.dsinks = asks(score.sinks.is_some());
    backward.dt5 = asks(score.t5.is_some());
    for operand in [
        &mut backward.d_o,
        &mut backward.dq,
        &mut backward.dk,
        &mut backward.dv,
    ] {
        spoil(draw, operand);
    }
    backward
}

fn merge(draw: &mut Draw) -> Merge {
    let sizes = [draw.near(1, 3), draw.near(1, 8), draw.near(1, 500)];
    let (parts, dim) = (draw.near(1, 9), draw.near(1, 576));
    let mut merge = Merge::new(parts, sizes, dim, draw.pick(&Element::ALL));
    merge.sinks = draw.rarely().then(|| {
        let count = sizes[1].min(9);
        Values::Host((0..count).map(|_| draw.absurd_float()).collect())
    });
    spoil(draw, &mut merge.o);
    merge
}

fn rotation(draw: &mut Draw) -> Rotation {
    let dim = draw.near(2, 576);
    let sizes = [draw.near(1, 3), draw.near(1, 8), draw.near(1, 500)];
    let mut rotation = Rotation::new(rotary(draw, dim), sizes, draw.pick(&Element::ALL));
    spoil(draw, &mut rotation.rows);
    spoil(draw, &mut rotation.rotated);
    rotation.positions = positions(draw, u64::from(sizes[0]) * u64::from(sizes[2]));
    rotation.start = draw.absurd_int();
    rotation.length = draw.one_in(2).then(|| draw.absurd());
    rotation.range = draw
        .one_in(2)
        .then(|| draw.absurd_int()..=draw.absurd_int());
    rotation
}

fn quantization(draw: &mut Draw) -> Quantization {
    let sizes = [(); 3].map(|()| draw.near(1, 90));
    let (dim, from) = (draw.near(1, 300), draw.pick(&ELEMENTS));
    let mut rows = Quantization::new(sizes, dim, from, draw.pick(&ELEMENTS));
    rows.hadamard = draw.rarely();
    spoil(draw, &mut rows.rows);
    spoil(draw, &mut rows.stored);
    rows
}

fn embedding(draw: &mut Draw) -> Embedding {
    let sizes = [draw.near(1, 3), draw.near(1, 500), draw.near(1, 2000)];
    let mut embedding = Embedding::new(sizes, draw.near(1, 3000), draw.pick(&Element::ALL));
    spoil(draw, &mut embedding.embeddings);
    embedding.positions = positions(draw, u64::from(sizes[0]) * u64::from(sizes[1]));
    embedding.start = draw.absurd_int();
    embedding
}

fn scan(draw: &mut Draw) -> BlockScan {
    let shape = Shape::square(draw.near(1, 2), draw.near(1, 3), draw.near(1, 600), 8);
    let grid = grid(draw, &shape);
    let mods = mods(draw);
    let mut scan = BlockScan::new(grid, mods);
    scan.capacity = draw.near(1, 40);
    if draw.rarely() {
        scan.q_offset = Offsets::Device;
    }
    scan
}

//! A plan of every kind, and operands for any plan.

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{BlockGrid, Lengths, Mods, Position};
use wgpu_attention::{
    Attention, Backward, BlockScan, CacheKind, Element, Embedding, KvCache, KvCacheOptions, Mask,
    Merge, Operands, Plan, PlanOptions, Problem, Quantization, Role, Rotation, Shape,
};

/// Zeros behind every operand of a plan.
pub struct Bound(Vec<(Role, wgpu::Buffer)>);

impl Bound {
    pub fn new(device: &wgpu::Device, plan: &Plan) -> Self {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let buffer = |bytes: u64| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes.next_multiple_of(4).max(4),
                usage,
                mapped_at_creation: false,
            })
        };
        let needs = plan.requirements().iter();
        Self(needs.map(|need| (need.role, buffer(need.bytes))).collect())
    }

    pub fn get(&self, role: Role) -> &wgpu::Buffer {
        let found = self.0.iter().find(|(name, _)| *name == role);
        &found.unwrap_or_else(|| panic!("no {role}")).1
    }

    pub fn operands(&self) -> Operands<'_> {
        let all = self.0.iter();
        all.fold(Operands::default(), |all, (role, buffer)| {
            all.with(*role, buffer)
        })
    }
}

pub fn cache_options() -> KvCacheOptions {
    KvCacheOptions::new(CacheKind::Contiguous { capacity: 64 }, 1, 8).with_batch(2)
}

pub fn cache(attention: &Attention) -> KvCache {
    pollster::block_on(attention.kv_cache(&cache_options())).expect("a cache")
}

pub fn problem() -> Problem {
    let mask = Mask::causal().with_kv_lens(Lengths::Device);
    Problem::new(Shape::square(1, 1, 16, 8), Element::F32).with_mask(mask)
}

pub fn plans(attention: &Attention) -> Vec<(&'static str, Plan)> {
    let cache = cache(attention);
    let rotary = || Rotary::new(8);
    let rotated = problem().with_position(Position::rotary(rotary()));
    let mods = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return i / 8u == j / 8u; }";
    let mods = Mods::new(mods).expect("a legal text");
    let grid = BlockGrid::new(16, 32, 32);
    let split = PlanOptions::default().with_splits(3);
    let quantization = Quantization::new([1, 1, 9], 8, Element::F32, Element::Int8);
    let plans = [
        ("forward", attention.plan(&problem())),
        ("forward in splits", attention.plan_with(&rotated, &split)),
        (
            "backward",
            attention.plan_backward(&Backward::new(problem(), Element::F32)),
        ),
        ("append", attention.plan_append(&cache.append(Element::F32))),
        ("decode", attention.plan(&cache.problem(2, Element::F32))),
        (
            "merge",
            attention.plan_merge(&Merge::new(2, [1, 2, 9], 8, Element::F32)),
        ),
        (
            "rotation",
            attention.plan_rotation(&Rotation::new(rotary(), [1, 2, 9], Element::F32)),
        ),
        (
            "embedding",
            attention.plan_embedding(&Embedding::new([1, 9, 8], 20, Element::F32)),
        ),
        ("quantization", attention.plan_quantization(&quantization)),
        ("scan", attention.plan_scan(&BlockScan::new(grid, mods))),
    ];
    let planned = plans.into_iter().map(|(name, plan)| {
        let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, plan)
    });
    planned.collect()
}

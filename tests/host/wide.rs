//! Plans for rows of 257 to 576 channels: on every kind of device one that keeps its limits, in tiles whose invocations
//! have room for their part of a row.

use wgpu_attention::caps::{AdapterClass, AdapterId, Subgroups, quirks};
use wgpu_attention::internal::{Strategy, Variant};
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Layout, Values, alibi_slopes};
use wgpu_attention::{Caps, Element, PlanOptions, Problem, Shape};

use crate::drawn::plan;
use crate::support::drawn::device::keeps_limits;

/// D and Dv.
const SIZES: [(u32, u32); 4] = [(576, 512), (512, 512), (320, 320), (576, 576)];
/// Queries, and whether a gradient is asked for.
const CALLS: [(u32, bool); 3] = [(1, false), (300, false), (300, true)];

/// The least device, and devices with subgroups of each kind.
fn devices() -> Vec<Caps> {
    let of = |class, min, max| {
        Caps::BASELINE
            .with_class(class)
            .with_subgroups(Subgroups::new(min, max))
    };
    vec![
        Caps::BASELINE,
        Caps::BASELINE.with_class(AdapterClass::Cpu).with_lanes(4),
        of(AdapterClass::Cpu, 4, 4)
            .with_lanes(4)
            .with_quirks(quirks::of(&AdapterId::UNKNOWN, AdapterClass::Cpu, 4)),
        of(AdapterClass::Cpu, 8, 8).with_lanes(8),
        of(AdapterClass::Integrated, 8, 32),
        of(AdapterClass::Discrete, 32, 32),
        of(AdapterClass::Discrete, 64, 64),
    ]
}

fn problem(head_dim: u32, value_dim: u32, q_len: u32) -> Problem {
    let shape = Shape {
        kv_heads: 1,
        value_dim,
        q_len,
        ..Shape::square(1, 16, 2048, head_dim)
    };
    let mut problem = Problem::new(shape, Element::F16);
    problem.score.slopes = Some(Values::Host(alibi_slopes(16)));
    problem.score.bias = Some(Layout::heads_first(16, q_len, 2048));
    problem
}

/// Words of rows that an invocation of a step holds.
fn words(variant: &Variant) -> Option<u32> {
    let tiles = variant.tiles()?;
    let of_row = match variant {
        Variant::GradKv(_) => 2 * (tiles.chunks + tiles.value_chunks),
        Variant::GradQ(_) => 2 * tiles.chunks + tiles.value_chunks,
        _ => tiles.chunks + tiles.value_chunks,
    };
    Some(4 * of_row.div_ceil(tiles.tiling.lanes_per_row) * tiles.tiling.rows)
}

#[test]
fn every_head_size_has_plans_on_every_device() {
    for head_dim in 257..=576 {
        let value_dim = if head_dim % 2 == 0 { head_dim } else { 512 };
        for (n, caps) in devices().iter().enumerate() {
            // Each device with a seventh of the sizes, and with the largest.
            if head_dim as usize % 7 != n && head_dim < 575 {
                continue;
            }
            for (q_len, gradient) in CALLS {
                let plan = plan(
                    problem(head_dim, value_dim, q_len),
                    gradient,
                    caps,
                    &PlanOptions::default(),
                )
                .unwrap_or_else(|e| panic!("{head_dim}: {e}\n{caps:?}"));
                keeps_limits(&plan, caps).unwrap_or_else(|e| panic!("{head_dim}: {e}\n{plan}"));
            }
        }
    }
}

/// A thread of a GPU has 255 registers, and SwiftShader's compiler takes minutes for much more than 160 words.
#[test]
fn no_invocation_has_more_than_it_has_room_for() {
    let asked = PlanOptions::default().with_strategy(StrategyKind::Workgroup);
    for (caps, options) in devices().into_iter().flat_map(|caps| {
        [
            (caps.clone(), PlanOptions::default()),
            (caps, asked.clone()),
        ]
    }) {
        for ((d, dv), (q_len, gradient)) in SIZES
            .into_iter()
            .flat_map(|size| CALLS.map(|call| (size, call)))
        {
            let plan = plan(problem(d, dv, q_len), gradient, &caps, &options).expect("a plan");
            for step in plan.steps() {
                let variant = step.variant();
                let most = most_words(&variant, &caps);
                assert!(
                    words(&variant).is_none_or(|words| words <= most),
                    "{caps:?}\n{plan}"
                );
            }
        }
    }
}

/// Lavapipe's registers are memory: 40 KiB of q and o of eight lanes fit its nearest cache.
fn most_words(variant: &Variant, caps: &Caps) -> u32 {
    let is_lavapipe = caps.class == AdapterClass::Cpu && caps.lanes >= 8;
    let tiles = variant.tiles();
    let in_lanes = tiles.is_some_and(|tiles| tiles.strategy != Strategy::Workgroup);
    if is_lavapipe && in_lanes { 1280 } else { 160 }
}

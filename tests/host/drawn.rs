//! Plans of drawn problems: over sizes, elements, masks, scores, positions, blocks and gradients, every step keeps every
//! limit of the device. Nearly all draws are legal, so that the limits and not the refusals are what is tested.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::plan::Slot;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, DenseMask, DeviceBlocks, Lengths, Mods, Offsets, Pattern,
    Position, Positions, Prefix, Segments, Select, T5, T5Bias, Values, Window, alibi_slopes,
};
use wgpu_attention::{Backward, Caps, Element, Error, Layout, Plan, PlanOptions, Problem, Shape};

/// What decides a problem beside its shape, as numbers: what they stand for is said once, in [`problem`].
pub type Draws = [u32; 12];

pub fn shapes() -> impl Strategy<Value = Shape> {
    let heads = (1u32..3, 1u32..4);
    (1u32..3, heads, 1u32..500, 1u32..700, 1u32..=128, 1u32..=128).prop_map(
        |(batch, (kv_heads, group), q_len, kv_len, half, value_dim)| Shape {
            batch,
            q_heads: kv_heads * group,
            kv_heads,
            q_len,
            kv_len,
            // Pairs of channels, for rotations.
            head_dim: 2 * half,
            value_dim,
        },
    )
}

pub fn problem(shape: Shape, draws: Draws) -> Problem {
    let [
        element,
        mask,
        lens,
        offsets,
        segments,
        blocks,
        softcap,
        bias,
        distance,
        rest,
        positions,
        mods,
    ] = draws;
    let element = Element::ALL[(element % 3) as usize];
    let mut problem = Problem::new(shape, element);
    draw_mask(&mut problem, mask, [lens, offsets, segments]);
    problem.mask.blocks = draw_blocks(&shape, blocks);
    draw_score(&mut problem, [softcap, bias, distance, rest]);
    draw_positions(&mut problem, positions);
    problem.mods = mods.is_multiple_of(4).then(|| {
        Mods::new(
            "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i ^ j) % 3u != 0u; }",
        )
        .expect("a sound text")
    });
    problem
}

fn draw_mask(problem: &mut Problem, mask: u32, [lens, offsets, segments]: [u32; 3]) {
    let shape = problem.shape;
    problem.mask.causal = mask.is_multiple_of(2);
    problem.mask.prefix = match mask % 7 {
        0 => Prefix::Same(mask % 50),
        1 => Prefix::Host((0..shape.batch).map(|b| mask % 50 + b).collect()),
        2 => Prefix::Device,
        _ => Prefix::default(),
    };
    problem.mask.window = mask.is_multiple_of(3).then(|| Window {
        left: (!mask.is_multiple_of(5)).then_some(mask % 200),
        right: Some(mask % 7),
    });
    problem.mask.first = mask % 11;
    problem.mask.dense = (mask % 5 == 1).then(|| {
        let rows = if mask.is_multiple_of(2) {
            1
        } else {
            shape.q_len
        };
        DenseMask::device([1, shape.q_heads, rows], shape.kv_len)
    });
    problem.mask.kv_lens = match lens % 3 {
        0 => Lengths::All,
        1 => Lengths::Host(
            (0..shape.batch)
                .map(|b| (lens + b) % (shape.kv_len + 1))
                .collect(),
        ),
        _ => Lengths::Device,
    };
    problem.mask.q_offset = match offsets % 3 {
        0 => Offsets::BottomRight,
        1 => Offsets::Host(
            (0..shape.batch)
                .map(|b| (offsets % 300) as i32 - b as i32)
                .collect(),
        ),
        _ => Offsets::Device,
    };
    let ids = |len: u32| {
        (0..shape.batch * len)
            .map(|n| (n * segments % 5) as i32)
            .collect()
    };
    problem.mask.segments = match segments % 4 {
        0 => Some(Segments::Device),
        1 => Some(Segments::Host {
            q: ids(shape.q_len),
            k: ids(shape.kv_len),
        }),
        _ => None,
    };
}

fn draw_blocks(shape: &Shape, blocks: u32) -> Option<Blocks> {
    let grid = BlockGrid::of([16, 32, 64, 128][(blocks / 8 % 4) as usize], shape);
    match blocks % 8 {
        0 => Some(
            BlockMask::from_pattern(grid, &Pattern::sliding_window(40, 3))
                .expect("blocks")
                .into(),
        ),
        1 => Some(Blocks::Select(
            (Select::new(grid.side, 1 + blocks / 32 % grid.kv_blocks())).with_local(blocks % 3),
        )),
        2 => Some(Blocks::Device(DeviceBlocks {
            grid,
            capacity: 1 + blocks / 32 % grid.kv_blocks(),
        })),
        _ => None,
    }
}

fn draw_score(problem: &mut Problem, [softcap, bias, distance, rest]: [u32; 4]) {
    let shape = problem.shape;
    let score = &mut problem.score;
    score.softcap = softcap.is_multiple_of(3).then_some(10.0);
    score.bias = bias.is_multiple_of(3).then(|| Layout {
        batch: if bias.is_multiple_of(2) {
            0
        } else {
            u64::from(shape.q_heads * shape.q_len * shape.kv_len)
        },
        ..Layout::heads_first(shape.q_heads, shape.q_len, shape.kv_len)
    });
    if score.bias.is_some() {
        score.bias_element = Element::ALL[(bias / 3 % 3) as usize];
    }
    score.bias_before_softcap = score.bias.is_some() && score.softcap.is_some() && bias % 4 < 2;
    score.slopes = distance
        .is_multiple_of(4)
        .then(|| Values::Host(alibi_slopes(shape.q_heads)));
    if distance % 16 == 8 {
        (score.slopes, score.slopes_per_batch) = (Some(Values::Device), true);
    }
    score.t5 = (distance % 4 == 1).then(|| T5Bias {
        buckets: T5::causal(),
        table: Values::Device,
    });
    score.sinks = rest.is_multiple_of(3).then_some(Values::Device);
}

fn draw_positions(problem: &mut Problem, positions: u32) {
    let (batch, q_len, head_dim) = (
        problem.shape.batch,
        problem.shape.q_len,
        problem.shape.head_dim,
    );
    if positions.is_multiple_of(3) {
        problem.position = Position::rotary(Rotary::new(head_dim));
        // What lies on the device must be within a stated range.
        problem.position.range = Some(-4096..=4096);
    }
    if positions.is_multiple_of(5) {
        let of = |n: u32| (n * 7 % 1000) as i32 - 300;
        problem.position.q_positions = Positions::Host((0..batch * q_len).map(of).collect());
    }
}

pub fn devices() -> impl Strategy<Value = Caps> {
    let class = prop::sample::select(vec![
        AdapterClass::Cpu,
        AdapterClass::Integrated,
        AdapterClass::Discrete,
    ]);
    let subgroups = prop::option::of((2u32..6, 0u32..3));
    let memory = prop::sample::select(vec![16 << 10, 32 << 10, 64 << 10]);
    (class, subgroups, memory, any::<bool>()).prop_map(|(class, subgroups, memory, small_grid)| {
        Caps::BASELINE
            .with_class(class)
            .with_subgroups(subgroups.map(|(min, more)| Subgroups {
                min: 1 << min,
                max: 1 << (min + more),
            }))
            .with_workgroup_memory(memory)
            .with_workgroups_per_dimension(if small_grid { 97 } else { 65_535 })
            .with_iterations((class == AdapterClass::Cpu).then_some(Caps::SOFTWARE_ITERATIONS))
    })
}

pub fn plan(
    problem: Problem,
    gradient: bool,
    caps: &Caps,
    options: &PlanOptions,
) -> Result<Plan, Error> {
    if !gradient {
        return Plan::attention(&problem, caps, options);
    }
    let score = problem.score.clone();
    let backward = Backward::new(problem, Element::F32)
        .with_dbias(score.bias.is_some())
        .with_dslopes(score.slopes.is_some())
        .with_dsinks(score.sinks.is_some())
        .with_dt5(score.t5.is_some());
    Plan::backward(&backward, caps, options)
}

pub fn check(plan: &Plan, caps: &Caps) -> TestCaseResult {
    for step in plan.steps() {
        let workgroup = step.variant().workgroup();
        prop_assert!(workgroup.memory <= caps.workgroup_memory);
        prop_assert!(workgroup.invocations <= caps.invocations_per_workgroup);
        prop_assert!(
            step.grid
                .iter()
                .all(|&n| n > 0 && n <= caps.workgroups_per_dimension)
        );
        for (name, binding) in step.bindings() {
            prop_assert!(binding.size <= caps.binding_bytes, "{name}");
            prop_assert_eq!(binding.offset % 256, 0, "{}", name);
            if let Slot::Scratch(n) = binding.slot {
                prop_assert!(binding.size <= plan.scratch()[n], "{name}");
            }
        }
        prop_assert!(!step.variant().needs().subgroups || caps.subgroups.is_some());
    }
    Ok(())
}

#[test]
fn plans_of_drawn_problems_keep_every_limit() {
    const CASES: u32 = 256;
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    });
    let draws = (
        shapes(),
        prop::array::uniform12(0u32..1000),
        any::<bool>(),
        devices(),
    );
    let reached = std::cell::Cell::new(0);
    let refused = std::cell::RefCell::new(Vec::new());
    let outcome = runner.run(&draws, |(shape, draws, gradient, caps)| {
        match plan(
            problem(shape, draws),
            gradient,
            &caps,
            &PlanOptions::default(),
        ) {
            Ok(plan) => {
                reached.set(reached.get() + 1);
                check(&plan, &caps)
            }
            Err(error) => {
                refused.borrow_mut().push(error.to_string());
                Ok(())
            }
        }
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        10 * reached.get() >= 9 * CASES,
        "{} of {CASES} draws are legal:\n{}",
        reached.get(),
        refused.borrow().join("\n")
    );
}

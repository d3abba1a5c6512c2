//! Sizes near 2³² and 2⁶⁴: refused with the actual value, soon, and before there is room for them. The package's profiles
//! check for overflow, so arithmetic that wraps is a failure here.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wgpu_attention::caps::AdapterClass;
use wgpu_attention::problem::position::{Rotary, Temperature, absolute};
use wgpu_attention::problem::{
    BlockGrid, BlockMask, Blocks, DeviceBlocks, Mods, Offsets, Pattern, Position, Positions,
    Segments, Select, Slice, T5, Values,
};
use wgpu_attention::{
    Backward, BlockScan, Caps, Element, Embedding, Error, Layout, Merge, Plan, PlanOptions,
    Problem, Rotation, Shape,
};

const MASK_MOD: &str = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return true; }";

/// A device that claims to have everything.
fn endless() -> Caps {
    Caps::BASELINE
        .with_class(AdapterClass::Discrete)
        .with_binding_bytes(u64::MAX)
        .with_workgroups_per_dimension(u32::MAX)
}

/// What `work` answers, in no time: nothing was counted through or made room for.
#[track_caller]
fn soon<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
    done
}

#[track_caller]
fn refused(words: &str, work: impl FnOnce() -> Result<Plan, Error>) {
    let error = soon(work).expect_err("absurd");
    assert!(error.to_string().contains(words), "{error}");
}

fn plan(problem: &Problem, caps: &Caps) -> Result<Plan, Error> {
    Plan::attention(problem, caps, &PlanOptions::default())
}

/// k and v are one row for all keys, so that nothing but their number is large.
fn broadcast(shape: Shape) -> Problem {
    let mut problem = Problem::new(shape, Element::F32);
    let one = Layout {
        offset: 0,
        batch: 0,
        head: 0,
        row: 0,
    };
    (problem.k.layout, problem.v.layout) = (one, one);
    problem
}

#[test]
fn batches_beyond_all_bounds() {
    let shape = Shape {
        batch: u32::MAX,
        ..Shape::square(1, 1, 1, 1)
    };
    let problem = Problem::new(shape, Element::F32);
    for caps in [Caps::BASELINE, endless()] {
        refused("the small operands together takes 1717986", || {
            plan(&problem, &caps)
        });
        let backward = Backward::new(problem.clone(), Element::F32);
        refused("the small operands together", || {
            Plan::backward(&backward, &caps, &PlanOptions::default())
        });
    }
    let mut selected = problem.clone();
    let select = Select::new(16, 1);
    assert_eq!(soon(|| select.lists(&shape, &selected.mask)).capacity, 1);
    selected.mask.blocks = Some(Blocks::Select(select));
    selected.position = Position::rotary(Rotary::new(1));
    assert!(soon(|| plan(&selected, &endless())).is_err());
}

#[test]
fn tokens_of_the_device_beyond_u32() {
    let shape = Shape {
        batch: 1 << 16,
        kv_len: 1 << 16,
        ..Shape::square(1, 1, 1, 2)
    };
    let mut segments = broadcast(shape);
    segments.mask.segments = Some(Segments::Device);
    let mut positions = broadcast(shape);
    positions.score.slopes = Some(Values::Host(vec![1.0]));
    positions.position.k_positions = Positions::Device;
    for caps in [Caps::BASELINE, endless()] {
        refused("operand segments_k ends at element 4294967296", || {
            plan(&segments, &caps)
        });
        refused("operand k_positions ends at element 4294967296", || {
            plan(&positions, &caps)
        });
    }
    // Fewer, but 8 GiB of them.
    let half = |problem: &Problem| {
        let mut half = problem.clone();
        half.shape.kv_len = (1 << 15) - 1;
        half
    };
    for caps in [Caps::BASELINE, endless()] {
        refused("the small operands together", || {
            plan(&half(&segments), &caps)
        });
        refused("the small operands together", || {
            plan(&half(&positions), &caps)
        });
    }
}

#[test]
fn operands_of_a_task_beyond_u32() {
    let options = &PlanOptions::default();
    let caps = &endless();
    let embedding =
        Embedding::new([1 << 16, 1 << 16, 1], 4, Element::F32).with_positions(Positions::Device);
    refused("element 4294967296", || {
        Plan::embedding(&embedding, caps, options)
    });
    let long = Rotation::new(Rotary::new(2), [1, 1, u32::MAX], Element::F32).with_start(i32::MIN);
    refused("len is 4294967295", || Plan::rotation(&long, caps, options));
    let everywhere = Rotation::new(Rotary::new(2), [1, 1, 4], Element::F32)
        .with_positions(Positions::Device)
        .with_range(i32::MIN..=i32::MAX);
    refused("the range of positions is", || {
        Plan::rotation(&everywhere, caps, options)
    });
    let parts = Merge::new(u32::MAX, [1, 1, 1 << 20], 256, Element::F32);
    refused("partial_o", || Plan::merge(&parts, caps, options));
    let sinks = Merge::new(2, [1, 4, 1], 8, Element::F32).with_sinks(Values::Host(vec![0.0; 3]));
    refused("sinks has 3 values; it needs 4", || {
        Plan::merge(&sinks, caps, options)
    });
    for q_len in [0, 1, 1 << 20] {
        let grid = BlockGrid::new(16, q_len, 1 << 28)
            .with_batch(u32::MAX)
            .with_heads(u32::MAX);
        let scan = BlockScan::new(grid, Mods::new(MASK_MOD).expect("a sound text"));
        assert!(soon(|| Plan::scan(&scan, caps, options)).is_err());
    }
}

#[test]
fn a_plan_holds_a_bounded_number_of_steps() {
    let problem = Problem::new(Shape::square(1, 1, 1 << 20, 1), Element::F32);
    for gradient in [false, true] {
        let options = PlanOptions::default().with_slice_rows(1);
        let mut problem = problem.clone();
        // One key per row: the steps alone are many.
        problem.mask = wgpu_attention::Mask::window(0, 0);
        let planned = match gradient {
            false => Plan::attention(&problem, &endless(), &options),
            true => Plan::backward(&Backward::new(problem, Element::F32), &endless(), &options),
        };
        let error = planned.expect_err("a million steps");
        assert!(error.to_string().contains("slice_rows"), "{error}");
    }
}

/// A function may be said to loop 2³² times; what that comes to is no number of u64.
#[test]
fn iterations_of_users_beyond_all_bounds() {
    let mods = Mods::new(MASK_MOD)
        .expect("a sound text")
        .with_iterations(u32::MAX);
    let mut problem = broadcast(Shape {
        kv_len: 1 << 28,
        ..Shape::square(1, 1, 64, 64)
    });
    problem.mods = Some(mods);
    soon(|| plan(&problem, &endless())).expect("a device that counts no iterations");
}

#[test]
fn block_masks_beyond_u32() {
    let wide = BlockGrid::new(16, 16, 16)
        .with_batch(1 << 16)
        .with_heads(1 << 16);
    let long = BlockGrid::new(16, 1 << 28, 1 << 28);
    let error = |made: Result<BlockMask, Error>| made.expect_err("absurd").to_string();
    for grid in [wide, wide.with_q_len(0), wide.with_kv_len(0), long] {
        let said = [
            soon(|| error(BlockMask::from_dense(grid, &[]))),
            soon(|| error(BlockMask::from_blocks(grid, &[]))),
            soon(|| error(BlockMask::from_lists(grid, &[]))),
            soon(|| error(BlockMask::from_pattern(grid, &Pattern::causal()))),
            soon(|| error(BlockMask::from_fn(grid, |_, _, _, _| true))),
        ];
        for said in said {
            assert!(said.contains("choose larger blocks"), "{said}");
        }
    }
    // 2³² pairs wrap to none.
    let pairs = BlockGrid::new(128, 1 << 12, 1 << 12).with_batch(1 << 8);
    let said = soon(|| error(BlockMask::from_dense(pairs, &[])));
    assert!(said.contains("it needs 4294967296"), "{said}");
    let lists = DeviceBlocks::new(BlockGrid::new(16, 16, 16), u32::MAX);
    let mask = BlockMask::from_pattern(lists.grid, &Pattern::full()).expect("a block");
    let said = soon(|| lists.encode(&mask))
        .expect_err("absurd")
        .to_string();
    assert!(said.contains("capacity"), "{said}");
    assert!(lists.list(&[1, 0], 0).is_empty());
}

/// Each head is found and counted.
#[test]
fn pairs_and_lists_of_many_heads() {
    let grid = BlockGrid::new(16, 16, 16).with_batch(300).with_heads(300);
    let mask = BlockMask::from_pattern(grid, &Pattern::causal()).expect("a mask");
    assert_eq!(mask.pairs(), 300 * 300 * 17 * 8);
    assert!(mask.sees(299, 299, 5, 5) && !mask.sees(299, 299, 5, 6));
}

#[test]
fn numbers_that_saturate() {
    let most = Shape {
        batch: u32::MAX,
        q_heads: u32::MAX,
        kv_heads: u32::MAX,
        q_len: u32::MAX,
        kv_len: u32::MAX,
        head_dim: u32::MAX,
        value_dim: u32::MAX,
    };
    assert_eq!(most.rows(), u64::MAX);
    assert_eq!(Shape { q_len: 0, ..most }.rows(), 0);
    let far = Layout {
        offset: u64::MAX,
        batch: u64::MAX,
        head: 1,
        row: 1,
    };
    assert_eq!(far.index(1, 1, 1), u64::MAX);
    let mut problem = Problem::new(Shape::square(1, 1, 4, 4), Element::F32);
    problem.q.layout = far;
    assert_eq!(problem.q.bytes([2, 1, 1], 4), u64::MAX - 3);
    assert_eq!(problem.q.bytes([1, 1, 1], 0), u64::MAX - 3);
    refused("operand q ends at element", || plan(&problem, &endless()));
    // Nothing lies there, so it may lie anywhere.
    problem.shape.q_len = 0;
    plan(&problem, &endless()).expect("an empty operand");
    let cold = Temperature::new(0.1, 0).with_offset(u32::MAX);
    assert!(cold.at(i32::MAX).is_finite() && cold.at(i32::MIN).is_finite());
    assert!(soon(|| cold.with_floor(1).with_offset(0).table(i32::MIN..=i32::MAX)).is_err());
    assert_eq!(
        T5::both().bucket(i64::MIN, &[16]),
        T5::both().bucket(-1 << 40, &[16])
    );
    assert!(soon(|| absolute::sinusoidal(u32::MAX, u32::MAX - 1)).is_err());
    assert!(soon(|| absolute::interpolate(&[0.0; 4], 4, u32::MAX)).is_err());
}

/// A number that is small, or far off in one of several ways.
fn number() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![
        6 => 0u32..5,
        1 => (0u32..32).prop_map(|n| 1 << n),
        1 => (0u32..32).prop_map(|n| (1 << n) - 1),
        1 => (0u32..3).prop_map(|n| u32::MAX - n),
        1 => any::<u32>(),
    ]
}

fn layout() -> impl Strategy<Value = Option<Layout>> {
    let stride = prop_oneof![3 => 0u64..5, 1 => number().prop_map(u64::from), 1 => any::<u64>()];
    let layout = prop::array::uniform4(stride).prop_map(|[offset, batch, head, row]| Layout {
        offset,
        batch,
        head,
        row,
    });
    prop::option::weighted(0.3, layout)
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop::array::uniform7(number()).prop_map(|[batch, group, kv_heads, q_len, kv_len, d, dv]| {
        Shape {
            batch,
            q_heads: kv_heads.saturating_mul(group.max(1)),
            kv_heads,
            q_len,
            kv_len,
            head_dim: d,
            value_dim: dv,
        }
    })
}

/// Whatever sizes and strides a caller states, planning answers: it neither wraps nor counts for ages.
#[test]
fn drawn_sizes_are_plans_or_typed_errors() {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(1500)
    });
    let draws = (
        shapes(),
        prop::array::uniform4(layout()),
        prop::array::uniform6(number()),
        any::<[bool; 6]>(),
    );
    let outcome = runner.run(&draws, |(shape, layouts, numbers, flags)| {
        let [a, b, c, d, e, f] = numbers;
        let mut problem = Problem::new(shape, Element::ALL[(a % 3) as usize]);
        let operands = [
            &mut problem.q,
            &mut problem.k,
            &mut problem.v,
            &mut problem.o,
        ];
        for (operand, layout) in operands.into_iter().zip(layouts) {
            operand.layout = layout.unwrap_or(operand.layout);
        }
        problem.mask.causal = flags[0];
        (problem.mask.prefix, problem.mask.first) = (a.into(), b);
        problem.mask.window = flags[1].then(|| wgpu_attention::problem::Window {
            left: Some(c),
            right: flags[0].then_some(d),
        });
        problem.mask.segments = flags[2].then_some(Segments::Device);
        if flags[3] {
            problem.mask.q_offset = Offsets::Device;
            problem.position.k_positions = Positions::Device;
            problem.score.slopes = Some(Values::Device);
        }
        if flags[4] {
            problem.mask.blocks = Some(Blocks::Select(Select::new(16, f.max(1)).with_local(e)));
        }
        if flags[5] {
            problem.slice = Some(Slice {
                q: e.min(shape.q_len)..shape.q_len,
                k: f..shape.kv_len,
            });
        }
        let options = PlanOptions::default();
        for caps in [
            Caps::BASELINE,
            Caps::BASELINE.with_iterations(Caps::SOFTWARE_ITERATIONS),
        ] {
            let start = Instant::now();
            let _ = Plan::attention(&problem, &caps, &options);
            let _ = Plan::backward(
                &Backward::new(problem.clone(), Element::F32),
                &caps,
                &options,
            );
            let took = start.elapsed();
            prop_assert!(took < Duration::from_secs(20), "took {took:?}");
        }
        let sizes = [shape.batch, shape.q_heads, shape.q_len];
        let _ = Plan::merge(&Merge::new(e, sizes, f, Element::F16), &endless(), &options);
        let rotary = Rotary::new(shape.head_dim);
        let _ = Plan::rotation(
            &Rotation::new(rotary, sizes, Element::F16),
            &Caps::BASELINE,
            &options,
        );
        let _ = Plan::embedding(
            &Embedding::new(sizes, a, Element::F16),
            &Caps::BASELINE,
            &options,
        );
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

//! What a caller decides in the planner's place: every choice, nonsense too, is a plan that can run or a typed error.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::internal::Strategy as Inner;
use wgpu_attention::plan::{RotateWhere, StrategyKind};
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{BlockGrid, Mods};
use wgpu_attention::{
    BlockScan, Caps, Element, Embedding, Error, Merge, Plan, PlanOptions, Problem, Rotation, Shape,
    Tiling,
};

use crate::drawn::{plan, problem};
use crate::support::drawn::Draw;
use crate::support::drawn::device::{self, keeps_limits};

/// Small numbers, powers of two and the ends of `u32`.
fn number() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![
        4 => 0u32..20,
        4 => (0u32..32).prop_map(|n| 1 << n),
        1 => (0u32..3).prop_map(|n| u32::MAX - n),
        1 => any::<u32>(),
    ]
}

/// Widths of clusters and tilings that fit them, or steps of a tile in memory; now and then a field is drawn anew.
fn tilings() -> impl Strategy<Value = (Option<u32>, Tiling)> {
    let clusters = (2u32..5, 0u32..4, 1u32..6, 1u32..5).prop_map(|(width, lanes, rows, n)| {
        let (width, lanes_per_row) = (1 << width, 1 << lanes.min(width));
        let keys = width / lanes_per_row;
        let tiling = Tiling {
            invocations: n * width,
            lanes_per_row,
            rows,
            keys,
            tile: keys,
        };
        (Some(width), tiling)
    });
    let lanes = prop_oneof![3 => Just(1u32), 1 => 1u32..17];
    let staged =
        (lanes, 1u32..200, 1u32..9, 1u32..9, 1u32..9).prop_map(|(lanes, slots, rows, keys, n)| {
            let tiling = Tiling {
                invocations: slots.div_ceil(lanes) * lanes,
                lanes_per_row: lanes,
                rows,
                keys,
                tile: keys * n,
            };
            (None, tiling)
        });
    let wrong = (
        prop_oneof![clusters.clone(), staged.clone()],
        0..5,
        number(),
    )
        .prop_map(|((width, mut tiling), field, n)| {
            let Tiling {
                invocations,
                lanes_per_row,
                rows,
                keys,
                tile,
            } = &mut tiling;
            *[invocations, lanes_per_row, rows, keys, tile][field as usize] = n;
            (width, tiling)
        });
    prop_oneof![3 => clusters, 2 => staged, 2 => wrong]
}

fn options() -> impl Strategy<Value = PlanOptions> {
    let kinds = vec![StrategyKind::Subgroup, StrategyKind::Workgroup];
    let places = vec![RotateWhere::Fused, RotateWhere::Pass];
    let kinds = (
        prop::option::weighted(0.3, prop::sample::select(kinds)),
        prop::option::weighted(0.1, prop::sample::select(places)),
    );
    let numbers = (
        prop::option::weighted(0.1, number()),
        prop::option::weighted(0.7, tilings()),
        prop::option::weighted(0.15, number()),
        prop::option::weighted(0.15, number()),
    );
    let flags = (
        prop::option::weighted(0.1, any::<bool>()),
        prop::option::weighted(0.1, any::<bool>()),
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.2, any::<bool>()),
    );
    (kinds, numbers, flags).prop_map(|((strategy, rotate), numbers, flags)| {
        let (width, tiling, splits, slice_rows) = numbers;
        let (vec8, key_loop, shared_outputs, count_tiles, decode) = flags;
        PlanOptions::default()
            .with_strategy(strategy)
            .with_width(width.or(tiling.and_then(|(width, _)| width)))
            .with_tiling(tiling.map(|(_, tiling)| tiling))
            .with_decode(decode)
            .with_splits(splits)
            .with_slice_rows(slice_rows)
            .with_rotate(rotate)
            .with_vec8(vec8)
            .with_key_loop(key_loop)
            .with_shared_outputs(shared_outputs)
            .with_count_tiles(count_tiles)
    })
}

/// What the strategies' shaders assume, said once more.
fn runs(strategy: Inner, tiling: &Tiling) -> TestCaseResult {
    let Tiling {
        invocations,
        lanes_per_row: lanes,
        rows,
        keys,
        tile,
    } = *tiling;
    // A bit for each column of a tile; rows that no compiler gives up over.
    prop_assert!((1..=32).contains(&keys) && (1..=32).contains(&tile) && (1..=16).contains(&rows));
    match strategy {
        Inner::Subgroup { width, .. } => {
            prop_assert!(invocations > 0 && invocations.is_multiple_of(width));
            prop_assert!(lanes.is_power_of_two() && lanes <= 16);
            prop_assert!(lanes * keys == width && keys == tile);
        }
        Inner::Channels { width, .. } => {
            prop_assert!(invocations > 0 && invocations.is_multiple_of(width));
            prop_assert!(lanes == width && keys == width && tile == width);
        }
        Inner::Workgroup => {
            prop_assert!((1..=16).contains(&lanes) && tile.is_multiple_of(keys));
            prop_assert!(invocations > 0 && invocations.is_multiple_of(lanes));
        }
    }
    Ok(())
}

/// The kernels are those that were asked for.
fn obeys(plan: &Plan, options: &PlanOptions) -> TestCaseResult {
    for tiles in plan
        .steps()
        .iter()
        .filter_map(|step| step.variant().tiles())
    {
        runs(tiles.strategy, &tiles.tiling)?;
        let kind = match tiles.strategy {
            Inner::Subgroup { width, .. } | Inner::Channels { width, .. } => {
                prop_assert!(options.width.is_none_or(|asked| asked == width));
                StrategyKind::Subgroup
            }
            Inner::Workgroup => StrategyKind::Workgroup,
        };
        prop_assert!(options.strategy.is_none_or(|asked| asked == kind));
        if let Some(asked) = options.tiling {
            // A bias' gradient takes a tile of one step.
            let one_step = Tiling {
                tile: asked.keys,
                ..asked
            };
            prop_assert!(tiles.tiling == asked || tiles.tiling == one_step);
        }
    }
    Ok(())
}

#[test]
fn forced_choices_can_run_or_are_refused() {
    const CASES: u32 = 1500;
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    });
    let draws = (any::<u64>(), any::<bool>(), options());
    let (planned, tiled) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&draws, |(seed, gradient, options)| {
        let mut draw = Draw::new(seed);
        let (problem, caps) = (problem(&mut draw), device::draw(&mut draw));
        let Ok(plan) = plan(problem, gradient, &caps, &options) else {
            return Ok(());
        };
        planned.set(planned.get() + 1);
        tiled.set(tiled.get() + u32::from(options.tiling.is_some()));
        keeps_limits(&plan, &caps).map_err(TestCaseError::fail)?;
        obeys(&plan, &options)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        planned.get() > CASES / 10 && tiled.get() > CASES / 20,
        "{} of {CASES} draws are plans, {} of them with forced tiles",
        planned.get(),
        tiled.get()
    );
}

/// Invocations that are no whole clusters, zeros, numbers that overflow: each is said, with what is allowed.
#[test]
fn tilings_that_no_kernel_can_run_are_refused() {
    let caps = Caps::BASELINE.with_subgroups(Subgroups::new(8, 8));
    let sound = Tiling {
        invocations: 8,
        lanes_per_row: 1,
        rows: 1,
        keys: 8,
        tile: 8,
    };
    let problem = Problem::new(Shape::square(1, 1, 64, 16), Element::F32);
    let plan = |strategy, tiling| {
        let options = PlanOptions::default()
            .with_strategy(strategy)
            .with_tiling(tiling);
        Plan::attention(&problem, &caps, &options)
    };
    plan(StrategyKind::Subgroup, sound).expect("a sound tiling");
    let mut wrong = Vec::new();
    for invocations in [0, 1, 4, 7, 10, 12, u32::MAX] {
        wrong.push(Tiling {
            invocations,
            ..sound
        });
    }
    for n in [0, 3, 17, 64, u32::MAX] {
        wrong.push(Tiling {
            rows: if n == 3 { 0 } else { n },
            ..sound
        });
        wrong.push(Tiling {
            lanes_per_row: n,
            ..sound
        });
        wrong.push(Tiling { keys: n, ..sound });
        wrong.push(Tiling { tile: n, ..sound });
    }
    for tiling in wrong {
        let error = plan(StrategyKind::Subgroup, tiling).expect_err("no tiling");
        assert!(
            matches!(&error, Error::Strategy { strategy: "subgroup", reason } if reason.contains("allowed")
                || reason.contains("must be") || reason.contains("grants")),
            "{tiling:?}: {error}"
        );
    }
    for (field, tiling) in [
        (
            "lanes",
            Tiling {
                lanes_per_row: 3,
                ..sound
            },
        ),
        ("keys", Tiling { keys: 3, ..sound }),
        ("keys", Tiling { keys: 0, ..sound }),
        (
            "rows",
            Tiling {
                rows: u32::MAX,
                ..sound
            },
        ),
        (
            "invocations",
            Tiling {
                invocations: 0,
                ..sound
            },
        ),
    ] {
        let error = plan(StrategyKind::Workgroup, tiling).expect_err("no tiling");
        assert!(error.to_string().contains(field), "{tiling:?}: {error}");
    }
}

/// A wave of 64 lanes holds no row of 64 keys, whose marks would need 64 bits.
#[test]
fn wide_subgroups_share_rows() {
    for (min, class) in [32, 64, 128].into_iter().flat_map(|min| {
        use AdapterClass::*;
        [Cpu, Integrated, Discrete].map(|class| (min, class))
    }) {
        let caps = Caps::BASELINE
            .with_class(class)
            .with_subgroups(Subgroups::new(min, min));
        for (len, dim) in [
            (16, 1),
            (3000, 1),
            (16, 64),
            (3000, 64),
            (3000, 256),
            (16, 576),
            (3000, 576),
        ] {
            let problem = Problem::new(Shape::square(1, 8, len, dim), Element::F32);
            for gradient in [false, true] {
                let plan = plan(problem.clone(), gradient, &caps, &PlanOptions::default())
                    .expect("a plan");
                assert!(
                    plan.declined().iter().all(|x| x.path != "subgroup"),
                    "{plan}"
                );
                obeys(&plan, &PlanOptions::default()).unwrap_or_else(|e| panic!("{e}\n{plan}"));
            }
        }
    }
}

#[test]
fn options_that_a_task_has_no_use_for_are_refused() {
    let splits = PlanOptions::default().with_splits(2);
    let caps = &Caps::BASELINE;
    let text = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return true; }";
    let scan = BlockScan::new(
        BlockGrid::new(16, 32, 32),
        Mods::new(text).expect("a sound text"),
    );
    for (task, refused) in [
        (
            "merge",
            Plan::merge(&Merge::new(2, [1, 1, 4], 8, Element::F32), caps, &splits),
        ),
        (
            "rotation",
            Plan::rotation(
                &Rotation::new(Rotary::new(8), [1, 1, 4], Element::F32),
                caps,
                &splits,
            ),
        ),
        (
            "embedding",
            Plan::embedding(&Embedding::new([1, 4, 8], 4, Element::F32), caps, &splits),
        ),
        ("scan", Plan::scan(&scan, caps, &splits)),
    ] {
        let error = refused.expect_err("unused");
        assert!(
            matches!(&error, Error::UnusedOption { option: "splits", task: named } if named.contains(task)),
            "{error}"
        );
    }
}

#[test]
fn choices_that_contradict_or_mean_nothing_are_refused() {
    let problem = Problem::new(Shape::square(1, 1, 64, 16), Element::F32);
    let refuse = |options: PlanOptions, gradient| {
        plan(problem.clone(), gradient, &Caps::BASELINE, &options)
            .expect_err("nonsense")
            .to_string()
    };
    for gradient in [false, true] {
        let none = PlanOptions::default;
        let zero = refuse(none().with_splits(0), gradient);
        assert!(
            zero.contains("splits is 0; allowed is at least 1"),
            "{zero}"
        );
        let zero = refuse(none().with_slice_rows(0), gradient);
        assert!(
            zero.contains("slice_rows is 0; allowed is at least 1"),
            "{zero}"
        );
        let width = none().with_strategy(StrategyKind::Workgroup).with_width(8);
        assert!(refuse(width, gradient).contains("width"));
        // Asked for, so not passed over: this device has no subgroups.
        let width = refuse(none().with_width(8), gradient);
        assert!(width.contains("no subgroups"), "{width}");
    }
    let fused = PlanOptions::default().with_rotate(RotateWhere::Fused);
    assert!(refuse(fused, true).contains("a pass before rotates"));
}

/// What no device is, and what claims to be one.
fn nonsense_devices() -> impl Strategy<Value = Caps> {
    let class = prop::sample::select(vec![
        AdapterClass::Cpu,
        AdapterClass::Integrated,
        AdapterClass::Discrete,
    ]);
    let bytes =
        prop_oneof![1 => number().prop_map(u64::from), 1 => Just(u64::MAX), 2 => Just(1 << 27)];
    let often = |usual: u32| prop_oneof![1 => number(), 2 => Just(usual)];
    let limits = (
        often(256),
        often(256),
        often(16 << 10),
        often(8),
        often(65_535),
    );
    (
        class,
        prop::option::of((number(), number())),
        any::<(bool, bool)>(),
        number(),
        limits,
        bytes,
        prop::option::of(number().prop_map(u64::from)),
    )
        .prop_map(
            |(class, subgroups, (offered, int64), lanes, limits, binding_bytes, iterations)| {
                let (invocations, size_x, memory, buffers, workgroups) = limits;
                Caps::BASELINE
                    .with_class(class)
                    .with_subgroups(subgroups.map(|(min, max)| Subgroups::new(min, max)))
                    .with_subgroups_offered(offered)
                    .with_lanes(lanes)
                    .with_int64(int64)
                    .with_invocations_per_workgroup(invocations)
                    .with_workgroup_size_x(size_x)
                    .with_workgroup_memory(memory)
                    .with_storage_buffers(buffers)
                    .with_binding_bytes(binding_bytes)
                    .with_workgroups_per_dimension(workgroups)
                    .with_iterations(iterations)
            },
        )
}

#[test]
fn nonsense_devices_get_plans_within_their_limits_or_errors() {
    const CASES: u32 = 1500;
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    });
    let draws = (any::<u64>(), any::<bool>(), nonsense_devices());
    let planned = Cell::new(0);
    let outcome = runner.run(&draws, |(seed, gradient, caps)| {
        let options = PlanOptions::default();
        let problem = problem(&mut Draw::new(seed));
        let Ok(plan) = plan(problem, gradient, &caps, &options) else {
            return Ok(());
        };
        planned.set(planned.get() + 1);
        keeps_limits(&plan, &caps).map_err(TestCaseError::fail)?;
        obeys(&plan, &options)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        planned.get() > CASES / 20,
        "{} of {CASES} are plans",
        planned.get()
    );
}

#[test]
fn devices_that_are_none_are_refused() {
    let problem = Problem::new(Shape::square(1, 1, 64, 16), Element::F32);
    for (change, said) in [
        (
            (|caps| caps.iterations = Some(0)) as fn(&mut Caps),
            "Caps::iterations is 0; allowed is None, or at least 1024",
        ),
        (
            |caps| caps.iterations = Some(535),
            "Caps::iterations is 535",
        ),
        (
            |caps| caps.workgroups_per_dimension = 0,
            "workgroups_per_dimension is 0",
        ),
        (
            |caps| caps.invocations_per_workgroup = 63,
            "allowed is at least 64",
        ),
        (|caps| caps.workgroup_size_x = 0, "workgroup_size_x is 0"),
        (
            |caps| caps.subgroups = Some(Subgroups::new(32, 8)),
            "subgroups.min is 32; allowed is 1 to its max, 8",
        ),
    ] {
        let mut caps = Caps::BASELINE;
        change(&mut caps);
        for gradient in [false, true] {
            let error = plan(problem.clone(), gradient, &caps, &PlanOptions::default())
                .expect_err("no device");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

//! What is planned on which device, and what is refused.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use wgpu_attention::Plan;
use wgpu_attention::caps::{AdapterClass, Subgroups};
use wgpu_attention::internal::{Strategy as Inner, Variant};
use wgpu_attention::plan::{Slot, StrategyKind};
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    Blocks, Lengths, Mods, Offsets, Select, Slice, T5, T5Bias, Values, Window,
};
use wgpu_attention::{
    Backward, Caps, Element, Error, Layout, Mask, Merge, PlanOptions, Problem, Shape,
};

pub fn software() -> Caps {
    Caps::BASELINE
        .with_class(AdapterClass::Cpu)
        .with_subgroups(Subgroups::new(8, 8))
        .with_iterations(Caps::SOFTWARE_ITERATIONS)
}

fn problem() -> Problem {
    Problem::new(Shape::square(2, 4, 100, 64), Element::F32)
}

fn plan(problem: &Problem, caps: &Caps) -> Result<Plan, Error> {
    Plan::attention(problem, caps, &PlanOptions::default())
}

fn strategy(plan: &Plan) -> Inner {
    match plan.steps()[0].variant() {
        Variant::Prefill(key) => key.strategy,
        other => panic!("{other}"),
    }
}

#[test]
fn the_least_device_gets_the_workgroup_strategy_and_is_told_why() {
    let plan = plan(&problem(), &Caps::BASELINE).expect("every device runs this");
    assert_eq!(strategy(&plan), Inner::Workgroup);
    assert_eq!(plan.declined()[0].path, "subgroup");
    assert!(
        plan.to_string().contains("the device has no subgroups"),
        "{plan}"
    );
}

#[test]
fn a_device_without_what_its_adapter_offers_is_told_what_to_request() {
    let caps = Caps::BASELINE.with_subgroups_offered(true);
    let plan = plan(&problem(), &caps).expect("a plan");
    assert!(
        plan.declined()[0].reason.contains("Features::SUBGROUP"),
        "{plan}"
    );
}

#[test]
fn subgroups_are_used_where_they_are() {
    let chosen = plan(&problem(), &software()).expect("a plan");
    let width = |min, max| {
        let caps = Caps::BASELINE
            .with_subgroups(Subgroups::new(min, max))
            .with_class(AdapterClass::Discrete);
        strategy(&plan(&problem(), &caps).expect("a plan"))
    };
    assert_eq!(
        strategy(&chosen),
        Inner::Subgroup {
            width: 8,
            fixed: true
        }
    );
    assert_eq!(
        width(32, 32),
        Inner::Subgroup {
            width: 32,
            fixed: true
        }
    );
    assert_eq!(
        width(8, 32),
        Inner::Subgroup {
            width: 8,
            fixed: false
        }
    );
}

#[test]
fn small_work_takes_the_variant_that_compiles_fast() {
    let rows = |len| match plan(
        &Problem::new(Shape::square(1, 8, len, 64), Element::F32),
        &software(),
    )
    .expect("a plan")
    .steps()[0]
        .variant()
    {
        Variant::Prefill(key) => key.tiling.rows,
        other => panic!("{other}"),
    };
    assert_eq!((rows(64), rows(1024)), (1, 4));
}

#[test]
fn empty_problems_are_legal() {
    for (change, steps) in [((0, 5, 5), 0), ((2, 0, 5), 0), ((2, 5, 0), 1)] {
        let (batch, q_len, kv_len) = change;
        let shape = Shape {
            batch,
            q_len,
            kv_len,
            ..Shape::square(1, 2, 5, 8)
        };
        let plan = plan(&Problem::new(shape, Element::F32), &Caps::BASELINE).expect("legal");
        assert_eq!(plan.steps().len(), steps, "{plan}");
    }
}

#[test]
fn the_shape_is_not_in_the_key() {
    let variants = |len: u32| -> Vec<Variant> {
        let mut problem = Problem::new(Shape::square(1, 8, len, 64), Element::F16);
        problem.mask = Mask::window(7, 0);
        problem.mask.causal = len.is_multiple_of(2);
        let plan = plan(&problem, &software()).expect("a plan");
        plan.steps().iter().map(|step| step.variant()).collect()
    };
    assert_eq!(variants(3001), variants(4000));
}

/// Each fault, and a part of what is said of it.
#[test]
fn bad_input_is_refused_with_the_actual_value() {
    type Fault = (fn(&mut Problem), &'static str);
    let faults: [Fault; 16] = [
        (|p| p.shape.kv_heads = 3, "a multiple of kv_heads = 3"),
        (|p| p.shape.kv_heads = 0, "kv_heads is 0"),
        (|p| p.shape.head_dim = 0, "head_dim is 0"),
        (|p| p.shape.head_dim = 577, "1 to 576"),
        (|p| p.shape.value_dim = 600, "value_dim is 600"),
        (|p| p.shape.kv_len = u32::MAX, "kv_len is 4294967295"),
        (|p| p.q.layout.batch = 1 << 40, "operand q ends at element"),
        (|p| p.o.layout.row = 63, "the row stride of output o is 63"),
        (|p| p.o.layout.head = 0, "rows that do not overlap"),
        (|p| p.scale = Some(f32::NAN), "scale is NaN"),
        (|p| p.scale = Some(f32::INFINITY), "a finite number"),
        (|p| p.score.softcap = Some(0.0), "softcap is 0"),
        (
            |p| p.mask.kv_lens = Lengths::Host(vec![100]),
            "kv_lens has 1 values",
        ),
        (
            |p| p.mask.kv_lens = Lengths::Host(vec![3, 101]),
            "kv_lens[1] is 101",
        ),
        (
            |p| p.mask.q_offset = Offsets::Host(vec![i32::MIN, 0]),
            "q_offset[0]",
        ),
        (
            |p| p.slice = Some(Slice { q: 0..101, k: 0..3 }),
            "slice.q is 0..101",
        ),
    ];
    for (fault, said) in faults {
        let mut problem = problem();
        fault(&mut problem);
        let error = plan(&problem, &software()).expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn limits_are_named() {
    let small = Caps::BASELINE.with_binding_bytes(1 << 10);
    let error = plan(&problem(), &small).expect_err("too large to bind");
    assert!(
        error
            .to_string()
            .contains("max_storage_buffer_binding_size"),
        "{error}"
    );
    let none = Caps::BASELINE.with_workgroup_memory(64);
    let error = plan(&problem(), &none).expect_err("no strategy");
    assert!(error.to_string().contains("workgroup memory"), "{error}");
    let choice = PlanOptions::default().with_strategy(StrategyKind::Subgroup);
    let error = Plan::attention(&problem(), &Caps::BASELINE, &choice).expect_err("no subgroups");
    assert!(
        error
            .to_string()
            .contains("strategy subgroup cannot run here"),
        "{error}"
    );
}

/// Plans of every family of kernels.
fn plans_of_all_kinds(caps: &Caps) -> Vec<Result<Plan, Error>> {
    let options = PlanOptions::default();
    let mut problem = Problem::new(Shape::square(1, 2, 256, 32), Element::F16);
    problem.score.bias = Some(Layout::heads_first(2, 256, 256));
    problem.position.rotary = Some(Rotary::new(32));
    let mut backward = Backward::new(problem.clone(), Element::F16);
    backward.dbias = true;
    let mut selecting = Problem::new(Shape::square(1, 2, 256, 32), Element::F16);
    selecting.mask.blocks = Some(Blocks::Select(Select::new(64, 2)));
    let merge = Merge::new(2, [1, 2, 256], 32, Element::F16);
    let split = PlanOptions::default().with_splits(2);
    vec![
        Plan::attention(&problem, caps, &options),
        Plan::attention(&problem, caps, &split),
        Plan::backward(&backward, caps, &options),
        Plan::attention(&selecting, caps, &options),
        Plan::backward(&Backward::new(selecting, Element::F16), caps, &options),
        Plan::merge(&merge, caps, &options),
    ]
}

#[test]
fn a_step_knows_how_many_buffers_its_shader_binds() {
    for plan in plans_of_all_kinds(&Caps::BASELINE) {
        let plan = plan.expect("a plan");
        for step in plan.steps() {
            let shader = step.variant().compose(plan.mods()).expect("a shader");
            // All but the parameters.
            let bound = shader.binds().len() as u32 - 1;
            assert_eq!(step.storage_buffers(), bound, "{}", step.kernel());
        }
    }
}

/// Less than WebGPU's least, one limit at a time: the plan names it, and what to request.
#[test]
fn what_a_device_cannot_bind_is_found_by_the_plan() {
    type Less = fn(&mut Caps);
    let less: [(&str, Less); 5] = [
        ("max_storage_buffers_per_shader_stage", |caps| {
            caps.storage_buffers = 3;
        }),
        ("max_uniform_buffer_binding_size", |caps| {
            caps.uniform_bytes = 64;
        }),
        ("max_compute_invocations_per_workgroup", |caps| {
            caps.invocations_per_workgroup = 32;
        }),
        ("max_compute_workgroup_size_x", |caps| {
            caps.workgroup_size_x = 32;
        }),
        ("max_buffer_size", |caps| caps.buffer_bytes = 256),
    ];
    for (named, less) in less {
        let mut caps = Caps::BASELINE;
        less(&mut caps);
        for plan in plans_of_all_kinds(&caps) {
            match plan {
                Err(
                    error @ (Error::Limit { .. } | Error::Strategy { .. } | Error::Size { .. }),
                ) => {
                    assert!(error.to_string().contains(named), "{named}: {error}");
                    assert!(error.to_string().contains("request"), "{named}: {error}");
                }
                // One family has smaller tiles, or needs no buffer of its own.
                Ok(plan) => {
                    assert!(
                        !named.contains("storage") && !named.contains("uniform"),
                        "{plan}"
                    );
                    for step in plan.steps() {
                        let workgroup = step.variant().workgroup();
                        assert!(workgroup.invocations <= caps.invocations_per_workgroup);
                    }
                }
                Err(other) => panic!("{named}: {other}"),
            }
        }
    }
}

prop_compose! {
    fn shapes()(
        batch in 0u32..3,
        kv_heads in 1u32..4,
        group in 1u32..4,
        q_len in 0u32..3000,
        kv_len in 0u32..70_000,
        head_dim in 1u32..=576,
        value_dim in 1u32..=576,
    ) -> Shape {
        Shape { batch, q_heads: kv_heads * group, kv_heads, q_len, kv_len, head_dim, value_dim }
    }
}

prop_compose! {
    fn problems()(
        shape in shapes(),
        element in prop::sample::select(Element::ALL.to_vec()),
        causal: bool,
        window in prop::option::of((0u32..500, 0u32..500)),
        first in 0u32..100,
        offset in 0u64..1000,
        softcap: bool,
    ) -> Problem {
        let mut problem = Problem::new(shape, element);
        problem.mask.causal = causal;
        problem.mask.window = window.map(|(l, r)| Window { left: Some(l), right: Some(r) });
        problem.mask.first = first;
        problem.k.layout = Layout::rows_first(shape.kv_heads, shape.kv_len, shape.head_dim).at(offset);
        problem.score.softcap = softcap.then_some(10.0);
        problem
    }
}

/// Positions, tables and lengths lie in one binding together.
#[test]
fn small_operands_beyond_one_binding_are_refused() {
    let mut problem = Problem::new(Shape::square(1, 1, 4, 4), Element::F32);
    problem.score.t5 = Some(T5Bias::new(
        T5::causal().with_distance(1 << 14),
        Values::Host(vec![0.0; 32]),
    ));
    let caps = Caps::BASELINE.with_binding_bytes(64 << 10);
    let error = plan(&problem, &caps).expect_err("128 KiB of buckets");
    assert!(
        matches!(error, Error::Limit { allowed, .. } if allowed == caps.binding_bytes),
        "{error}"
    );
    assert!(plan(&problem, &Caps::BASELINE).is_ok());
}

#[test]
fn parts_of_nothing_are_refused() {
    let problem = Problem::new(Shape::square(1, 1, 16, 8), Element::F32);
    let merge = Merge::new(2, [1, 1, 16], 8, Element::F32);
    for (what, choice) in [
        ("slice_rows", PlanOptions::default().with_slice_rows(0)),
        ("splits", PlanOptions::default().with_splits(0)),
    ] {
        let forward = Plan::attention(&problem, &Caps::BASELINE, &choice);
        let backward = Backward::new(problem.clone(), Element::F32);
        let backward = Plan::backward(&backward, &Caps::BASELINE, &choice);
        let merge = Plan::merge(&merge, &Caps::BASELINE, &choice);
        for plan in [forward, backward, merge] {
            let refused = plan.err();
            assert!(
                matches!(refused, Some(Error::Size { what: told, .. }) if told == what),
                "{refused:?}"
            );
        }
    }
}

prop_compose! {
    fn devices()(
        class in prop::sample::select(vec![AdapterClass::Cpu, AdapterClass::Integrated, AdapterClass::Discrete]),
        subgroups in prop::option::of((2u32..6, 0u32..3)),
        memory in prop::sample::select(vec![16 << 10, 32 << 10, 64 << 10]),
        binding_bytes in prop::sample::select(vec![16 << 10, 1 << 20, 128 << 20]),
        small_grid: bool,
    ) -> Caps {
        Caps::BASELINE.with_class(class).with_subgroups(subgroups.map(|(min, more)| Subgroups::new(1 << min, 1 << (min + more)))).with_workgroup_memory(memory).with_binding_bytes(binding_bytes).with_workgroups_per_dimension(if small_grid { 97 } else { 65_535 }).with_iterations((class == AdapterClass::Cpu).then_some(Caps::SOFTWARE_ITERATIONS))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_plan_respects_every_limit(problem in problems(), caps in devices()) {
        let plan = match plan(&problem, &caps) {
            Ok(plan) => plan,
            Err(Error::Limit { .. }) => return Ok(()),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let mut composed = HashMap::new();
        for step in plan.steps() {
            prop_assert!(step.variant().workgroup().memory <= caps.workgroup_memory);
            prop_assert!(step.variant().workgroup().invocations <= caps.invocations_per_workgroup);
            // Of a call in many parts each kernel once.
            let binds = match composed.get(&step.variant()) {
                Some(binds) => *binds,
                None => {
                    let shader = step.variant().compose(plan.mods()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                    composed.insert(step.variant(), shader.binds().len() as u32);
                    shader.binds().len() as u32
                }
            };
            // All but the parameters are storage.
            prop_assert!(binds - 1 <= caps.storage_buffers);
            prop_assert_eq!(binds - 1, step.storage_buffers());
            prop_assert!(step.grid.iter().all(|&n| n <= caps.workgroups_per_dimension));
            prop_assert!(step.grid.iter().all(|&n| n > 0));
            for (_, binding) in step.bindings() {
                prop_assert!(binding.size <= caps.binding_bytes);
                prop_assert_eq!(binding.offset % 256, 0);
                if let Slot::Scratch(n) = binding.slot {
                    prop_assert!(binding.size <= plan.scratch()[n]);
                }
            }
            prop_assert!(!step.variant().needs().subgroups || caps.subgroups.is_some());
        }
    }

    /// The dispatches of a forward kernel own each row and part of its keys once, and their grids hold them.
    #[test]
    fn steps_cover_their_work_once(problem in problems(), caps in devices()) {
        let Ok(plan) = plan(&problem, &caps) else { return Ok(()) };
        let shape = &problem.shape;
        let mut covered = BTreeMap::<_, Vec<_>>::new();
        for step in plan.steps() {
            let Variant::Prefill(key) = step.variant() else { continue };
            let (params, rows) = (step.params(), key.tiling.tile_rows());
            let (work, range) = (params.work, params.range);
            prop_assert!(u64::from(step.grid[0]) * u64::from(step.grid[1]) >= u64::from(work.end - work.begin));
            for n in (work.begin..work.end).filter(|n| n % work.splits == 0) {
                prop_assert!(n + work.splits <= work.end);
                let tile = n / work.splits % work.tiles;
                let start = (range.q_begin / rows + tile) * rows;
                for i in start.max(range.q_begin)..(start + rows).min(range.q_end) {
                    let keys = covered.entry((n / work.splits / work.tiles, i)).or_default();
                    keys.push(range.k_begin..range.k_end);
                }
            }
        }
        let keys = problem.slice().k;
        if covered.is_empty() { return Ok(()) }
        prop_assert_eq!(covered.len() as u64, shape.rows());
        for mut runs in covered.into_values() {
            runs.sort_by_key(|run| run.start);
            prop_assert_eq!((runs[0].start, runs[runs.len() - 1].end), (keys.start, keys.end));
            prop_assert!(runs.windows(2).all(|two| two[0].end == two[1].start));
        }
    }
}

/// A text with loops is taken to need 64 iterations per call, unless more or fewer are stated.
#[test]
fn loops_of_users_are_counted_before_a_software_adapter_stops_them() {
    let text = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
        var n = 0u;
        while n < u32(mod_data(0u)) && (i ^ j) >> n != 0u { n++; }
        return n % 2u == 0u;
    }";
    let with = |iterations: Option<u32>| {
        let mods = Mods::new(text).expect("a text that the library accepts");
        let mods = match iterations {
            Some(n) => mods.with_iterations(n),
            None => mods,
        };
        let problem = Problem::new(Shape::square(1, 1, 4096, 64), Element::F32).with_mods(mods);
        plan(&problem, &software())
    };
    let splits = |iterations| {
        let plan = with(iterations).expect("a plan");
        let Variant::Prefill(key) = plan.steps()[0].variant() else {
            panic!("{plan}");
        };
        let splits = plan.steps()[0].params().work.splits;
        (u64::from(splits), u64::from(key.tiling.rows))
    };
    assert_eq!(splits(Some(0)).0, 1);
    let (parts, rows) = splits(None);
    assert!(parts * Caps::SOFTWARE_ITERATIONS >= 4096 * rows * 65);
    let (parts, rows) = splits(Some(500));
    assert!(parts * Caps::SOFTWARE_ITERATIONS >= 4096 * rows * 501);
    let error = with(Some(1 << 20)).expect_err("two tiles of a million each");
    assert!(error.to_string().contains("with_iterations"), "{error}");
}

/// Every batch that shares a bias makes a workgroup load its rows anew, in loops.
#[test]
fn a_bias_that_many_batches_share_is_refused_before_a_software_adapter_stops() {
    let plan = |batches: u32| {
        let shape = Shape::square(batches, 1, 49, 32);
        let mut problem = Problem::new(shape, Element::F32);
        problem.score.bias = Some(Layout {
            batch: 0,
            ..Layout::heads_first(1, 49, 49)
        });
        let mut backward = Backward::new(problem, Element::F32);
        backward.dbias = true;
        let caps = software().with_int64(true).with_lanes(8);
        Plan::backward(&backward, &caps, &PlanOptions::default())
    };
    plan(4096).expect("16 iterations per batch are left");
    let error = plan(8192).expect_err("8 iterations per batch are not enough");
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

/// Without as much memory being asked for.
#[test]
fn a_batch_beyond_all_bounds_is_refused() {
    for batch in [1_000_000_000, u32::MAX] {
        let problem = Problem::new(Shape::square(batch, 1, 1, 1), Element::F32);
        let planned = Plan::attention(&problem, &software(), &PlanOptions::default());
        assert!(planned.is_err(), "a batch of {batch}");
        let backward = Backward::new(problem, Element::F32);
        assert!(Plan::backward(&backward, &software(), &PlanOptions::default()).is_err());
    }
}

/// A gradient is cut as the caller asks, on a device that caps no loops too.
#[test]
fn a_gradient_is_cut_in_the_parts_asked_for() {
    let steps = |caps: &Caps, splits| {
        let backward = Backward::new(problem(), Element::F32);
        let choice = PlanOptions::default().with_splits(splits);
        let plan = Plan::backward(&backward, caps, &choice).expect("a plan");
        let of_q = |variant: &Variant| matches!(variant, Variant::GradQ(_));
        plan.steps()
            .iter()
            .filter(|step| of_q(&step.variant()))
            .count()
    };
    let endless = software().with_iterations(None);
    for caps in [software(), endless] {
        assert_eq!([1, 2, 3].map(|n| steps(&caps, n)), [1, 2, 3]);
    }
}

/// Which block of keys is chosen how often only the device knows: the plan tells what all of them are at most.
#[test]
fn a_backward_over_chosen_blocks_states_its_bound() {
    let mut problem = Problem::new(Shape::square(1, 2, 1024, 64), Element::F32);
    problem.mask.blocks = Some(Blocks::Select(Select::new(64, 2).with_local(0)));
    let backward = Backward::new(problem, Element::F32);
    let plan = Plan::backward(&backward, &software(), &PlanOptions::default()).expect("a plan");
    let mut notes = plan.notes().iter();
    let note = notes.find_map(|note| note.strip_prefix("grad_kv visits at most "));
    let bound = note.and_then(|note| note.split(' ').next()?.parse::<u64>().ok());
    let bound = bound.unwrap_or_else(|| panic!("no bound in\n{plan}"));
    let mut steps = plan.steps().iter();
    let step = steps
        .find(|step| step.kernel() == "grad_kv")
        .expect("grad_kv");
    // Three of sixteen blocks at most: two that are chosen, and those on the diagonal and block 0.
    assert!(bound > 0 && 4 * bound <= step.cost.of, "{bound}\n{plan}");
}

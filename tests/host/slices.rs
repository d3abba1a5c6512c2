//! Slices of a plan by time: every workgroup once, in order, and none past its budget once a device is known.

use std::time::Duration;

use proptest::prelude::*;
use wgpu_attention::internal::{Load, Pace, Slicer};
use wgpu_attention::plan::Piece;
use wgpu_attention::problem::Mask;
use wgpu_attention::{Budget, Caps, Element, Error, Plan, PlanOptions, Problem, Shape};

/// A device that takes so many times what is assumed, kernel by kernel, and a little more or less each time.
struct Simulated {
    slowness: Vec<f64>,
    /// Share of a time by which it varies.
    noise: f64,
    turn: u32,
}

impl Simulated {
    fn seconds(&mut self, loads: &[Load], pieces: &[Piece]) -> f64 {
        self.turn += 1;
        let wave = 1.0 + self.noise * f64::from(self.turn).sin();
        let time = |piece: &Piece| {
            let load = &loads[piece.step];
            let count = (piece.workgroups.end - piece.workgroups.start) as f64;
            load.seconds * count / load.workgroups as f64 * self.slowness[load.kernel as usize]
        };
        pieces.iter().map(time).sum::<f64>() * wave
    }
}

/// Runs all slices; answers the seconds and the pieces of each.
fn simulate(
    loads: &[Load],
    beside: u64,
    budget: Budget,
    device: &mut Simulated,
) -> Vec<(f64, Vec<Piece>)> {
    let mut slicer = Slicer::new(loads.to_vec(), beside);
    let mut pace = Pace::default();
    let (mut slices, mut progress) = (Vec::new(), slicer.progress());
    while let Some(slice) = slicer.next(budget, &pace) {
        let seconds = device.seconds(loads, &slice.pieces);
        let work = slice.pieces.iter().map(|piece| {
            let load = &loads[piece.step];
            let count = (piece.workgroups.end - piece.workgroups.start) as f64;
            (load.kernel, load.seconds * count / load.workgroups as f64)
        });
        pace.learn(&work.collect::<Vec<_>>(), seconds);
        assert!(slicer.progress() >= progress, "progress falls");
        progress = slicer.progress();
        slices.push((seconds, slice.pieces));
    }
    assert!(slicer.is_done() && progress == 1.0, "{progress}");
    assert_eq!(slicer.remaining(&pace), Duration::ZERO);
    slices
}

fn loads() -> impl Strategy<Value = Vec<Load>> {
    let load = (0u64..3, 0u64..500, 1e-6f64..1.0).prop_map(|(kernel, workgroups, seconds)| Load {
        kernel,
        workgroups,
        seconds,
    });
    prop::collection::vec(load, 0..12)
}

proptest! {
    #[test]
    fn every_workgroup_comes_once_and_in_order(
        loads in loads(),
        beside in 1u64..9,
        milliseconds in 0.1f32..200.0,
        slowness in prop::collection::vec(0.05f64..20.0, 3),
    ) {
        let mut device = Simulated { slowness, noise: 0.3, turn: 0 };
        let budget = Budget::from_millis(milliseconds).expect("a budget");
        let (mut step, mut workgroup) = (0, 0);
        for (_, pieces) in simulate(&loads, beside, budget, &mut device) {
            prop_assert!(!pieces.is_empty());
            for piece in pieces {
                while loads[step].workgroups == workgroup {
                    (step, workgroup) = (step + 1, 0);
                }
                prop_assert_eq!(piece.step, step);
                prop_assert_eq!(piece.workgroups.start, workgroup);
                prop_assert!(piece.workgroups.end > workgroup);
                workgroup = piece.workgroups.end;
            }
        }
        let rest = loads.iter().skip(step).map(|load| load.workgroups).sum::<u64>();
        prop_assert_eq!(rest, workgroup);
    }

    #[test]
    fn no_slice_is_past_its_budget_once_the_device_is_known(
        workgroups in 1u64..3000,
        beside in 1u64..9,
        milliseconds in 1.0f32..200.0,
        slowness in 0.05f64..50.0,
        each in 1e-5f64..1e-3,
    ) {
        let seconds = each * workgroups as f64;
        let loads = [Load { kernel: 0, workgroups, seconds }];
        let mut device = Simulated { slowness: vec![slowness], noise: 0.1, turn: 0 };
        let budget = Budget::from_millis(milliseconds).expect("a budget");
        for (seconds, pieces) in simulate(&loads, beside, budget, &mut device).into_iter().skip(3) {
            let least = pieces[0].workgroups.end - pieces[0].workgroups.start == 1;
            prop_assert!(least || seconds <= budget.duration().as_secs_f64(), "{} s", seconds);
        }
    }
}

/// Slices per run of a device so many times as slow as is assumed.
fn count(slowness: f64) -> usize {
    let loads = [Load {
        kernel: 0,
        workgroups: 4000,
        seconds: 1.0,
    }];
    let mut device = Simulated {
        slowness: vec![slowness],
        noise: 0.0,
        turn: 0,
    };
    let budget = Budget::from_millis(16.0).expect("a budget");
    simulate(&loads, 2, budget, &mut device).len()
}

#[test]
fn a_slower_device_gets_smaller_slices() {
    // 1 s in slices of 12.8 ms of whole pairs of workgroups.
    assert!((79..83).contains(&count(1.0)), "{}", count(1.0));
    assert!((330..340).contains(&count(4.0)), "{}", count(4.0));
    assert!((19..26).contains(&count(0.25)), "{}", count(0.25));
}

#[test]
fn a_budget_is_a_time_above_zero() {
    for bad in [0.0, -4.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-9] {
        let refused = Budget::from_millis(bad).expect_err("no budget");
        assert!(
            matches!(refused, Error::Number { .. }),
            "{bad}: {refused:?}"
        );
        assert!(refused.to_string().contains("above 0"), "{refused}");
    }
    assert!(Budget::try_from(Duration::ZERO).is_err());
    let four = Budget::from_millis(4.0).expect("a budget");
    assert_eq!(four.duration(), Duration::from_millis(4));
    assert_eq!(Budget::try_from(Duration::from_millis(4)), Ok(four));
    assert_eq!(four.to_string(), "4.0 ms");
}

fn long() -> Problem {
    let shape = Shape::square(1, 1, 65_536, 64);
    Problem::new(shape, Element::F32).with_mask(Mask::causal())
}

fn lavapipe() -> Caps {
    let caps = Caps::BASELINE.with_class(wgpu_attention::caps::AdapterClass::Cpu);
    caps.with_iterations(Caps::SOFTWARE_ITERATIONS)
}

#[test]
fn a_plan_shows_its_slices_and_what_they_take() {
    let plan = Plan::attention(&long(), &lavapipe(), &PlanOptions::default()).expect("a plan");
    let slices = plan.slices(Budget::SUBMIT);
    let all: Duration = slices.iter().map(|slice| slice.expected).sum();
    let expected: Duration = plan.expected_times().iter().sum();
    assert!(
        all.abs_diff(expected) < Duration::from_millis(1),
        "{all:?} {expected:?}"
    );
    for slice in &slices {
        assert!(slice.expected <= Budget::SUBMIT.duration(), "{slice:?}");
    }
    let text = plan.to_string();
    let line = format!("in {} slices of", slices.len());
    assert!(
        text.contains(&line) && text.contains("250.0 ms being allowed"),
        "{text}"
    );
}

/// No step alone is longer than a submit may be.
#[test]
fn no_step_is_planned_above_a_quarter_of_a_second() {
    let plan = Plan::attention(&long(), &lavapipe(), &PlanOptions::default()).expect("a plan");
    for time in plan.expected_times() {
        assert!(time <= Duration::from_millis(251), "{time:?}");
    }
}

/// A workgroup over all 65 536 keys is longer than 4 ms on a core.
#[test]
fn keys_are_split_for_a_short_budget() {
    let plan = |within: Option<f32>| {
        let within = within.map(|ms| Budget::from_millis(ms).expect("a budget"));
        let options = PlanOptions::default().with_within(within);
        Plan::attention(&long(), &lavapipe(), &options).expect("a plan")
    };
    let longest = |plan: &Plan| {
        let each = |step: &wgpu_attention::plan::Step| {
            let workgroups: u64 = step.grid.iter().map(|&n| u64::from(n)).product();
            step.cost.flops / workgroups
        };
        plan.steps().iter().map(each).max().expect("steps")
    };
    let [whole, four, sixteen] = [None, Some(4.0), Some(16.0)].map(|ms| longest(&plan(ms)));
    assert!(
        four < sixteen && sixteen < whole,
        "{four} {sixteen} {whole}"
    );
    // 8 GFLOP/s of a core, half of the budget.
    assert!(four <= 16_000_000, "{four}");
}

#[test]
fn scratch_keeps_to_what_is_allowed_or_the_least_is_told() {
    let options = PlanOptions::default().with_splits(16);
    let free = Plan::attention(&long(), &lavapipe(), &options).expect("a plan");
    let most = free.scratch_bytes() / 4;
    let bounded = options.clone().with_max_scratch(most);
    let plan = Plan::attention(&long(), &lavapipe(), &bounded).expect("a plan");
    assert!(plan.scratch_bytes() <= most, "{}", plan.scratch_bytes());
    assert!(plan.to_string().contains("max_scratch allows"), "{plan}");
    // All of o would wait in scratch where it shares a buffer with an input.
    let shared = plan.with_shared_outputs();
    assert!(matches!(shared, Err(Error::Limit { .. })), "{shared:?}");
    // Fewer splits where rows do not suffice, and an error with the least.
    let least = Plan::attention(
        &long(),
        &lavapipe(),
        &PlanOptions::default().with_max_scratch(1),
    );
    match least {
        Err(Error::Limit {
            limit,
            actual,
            allowed: 1,
            ..
        }) => {
            assert_eq!(limit, "PlanOptions::max_scratch");
            let options = PlanOptions::default().with_max_scratch(actual);
            let plan = Plan::attention(&long(), &lavapipe(), &options).expect("the least");
            assert!(plan.scratch_bytes() <= actual);
        }
        other => panic!("{other:?}"),
    }
}

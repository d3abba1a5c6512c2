//! Tuning on the device: what it measures answers as the reference does, it is never slower than the table, and what it
//! cannot measure is refused.

use std::sync::Arc;

use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::Lengths;
use wgpu_attention::tuning::KernelFamily;
use wgpu_attention::{
    Backward, Element, Error, Mask, PlanOptions, Problem, Shape, TrialOutcome, Tuning,
};

use crate::device::{gpu, say};
use crate::run::{check, run};
use crate::support::cases::{self, Setting};
use crate::support::inputs::{Data, Inputs};

/// Few channels compile fast.
fn problem() -> Problem {
    let shape = Shape {
        kv_heads: 1,
        ..Shape::square(1, 2, 256, 16)
    };
    Problem::new(shape, Element::F32).with_mask(Mask::causal())
}

#[test]
fn two_small_problems() {
    let gpu = gpu();
    let forward = gpu.attention.plan(&problem()).expect("a plan");
    let backward = Backward::new(problem(), Element::F32);
    let backward = gpu.attention.plan_backward(&backward).expect("a plan");
    let mut trials = Vec::new();
    let tell = |trial: &wgpu_attention::Trial| trials.push(trial.clone());
    let plans = [forward, backward];
    let tune = gpu.attention.tune_with(&gpu.queue, &plans, 6.0, tell);
    let tuning = pollster::block_on(tune).expect("a tuning");
    let kernels: Vec<_> = tuning.rows().iter().map(|row| row.class.kernel).collect();
    let expected = [
        KernelFamily::Prefill,
        KernelFamily::GradKv,
        KernelFamily::GradQ,
    ];
    assert_eq!(kernels, expected);
    assert!(!trials.is_empty());
    for trial in &trials {
        let is_good = matches!(trial.outcome, TrialOutcome::Measured(ratio) if ratio > 0.0);
        assert!(is_good, "{trial:?}");
    }
    for row in tuning.rows() {
        say(&format!(
            "{}: table {} us, tuned {} us by {}",
            row.class,
            row.table_ns / 1000,
            row.tuned_ns / 1000,
            row.tiles
        ));
        assert!(row.tuned_ns <= row.table_ns && row.tuned_ns > 0, "{row:?}");
    }
    assert_eq!(Tuning::from_json(&tuning.to_json()).as_ref(), Ok(&tuning));
    // Plans of this device take it.
    let attention = gpu.attention.clone().with_tuning(tuning);
    let plan = attention.plan(&problem()).expect("a plan");
    assert!(plan.to_string().contains("those of the tuning"), "{plan}");
    let scaled = Problem::new(problem().shape, Element::F16);
    let plan = attention.plan(&scaled).expect("a plan");
    assert!(plan.to_string().contains("those of the table"), "{plan}");
}

/// Whatever tiles a tuning has, the answers are those of the reference.
#[test]
fn every_tile_of_a_tuning_answers_as_the_reference_does() {
    let gpu = gpu();
    let setting = Setting::new(16, 16, Element::F32);
    for (n, case) in cases::all(&setting).iter().enumerate().take(6) {
        let plan = gpu.attention.plan(&case.problem).expect("a plan");
        let Some((class, tiles)) = plan.tile_classes().next() else {
            continue;
        };
        let mut tuning = Tuning::new(gpu.attention.caps().adapter.clone());
        let mut tiles = tiles;
        tiles.tiling.rows *= 2;
        tuning.insert(wgpu_attention::tuning::Row::new(class, tiles, 0, 0));
        let options = PlanOptions::default().with_tuning(Arc::new(tuning));
        let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
        let (plan, output) = run(gpu, &gpu.attention, case, &inputs, &options);
        check(case, &inputs, &output, &format!("{}\n{plan}", case.name));
        assert!(plan.to_string().contains("the tuning"), "{plan}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let gpu = gpu();
    let tune = |plan, seconds| {
        let plans = [plan];
        pollster::block_on(gpu.attention.tune(&gpu.queue, &plans, seconds)).expect_err("a refusal")
    };
    let options = PlanOptions::default().with_strategy(StrategyKind::Workgroup);
    let forced = gpu
        .attention
        .plan_with(&problem(), &options)
        .expect("a plan");
    let error = tune(forced, 1.0);
    assert!(
        matches!(&error, Error::Untunable { reason } if reason.contains("forced")),
        "{error}"
    );
    let mut on_device = problem();
    on_device.mask.kv_lens = Lengths::Device;
    let on_device = gpu.attention.plan(&on_device).expect("a plan");
    let error = tune(on_device, 1.0);
    assert!(
        matches!(&error, Error::Untunable { reason } if reason.contains("kv_lens")),
        "{error}"
    );
    let plan = gpu.attention.plan(&problem()).expect("a plan");
    for seconds in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = tune(plan.clone(), seconds);
        assert!(
            matches!(
                error,
                Error::Number {
                    what: "seconds",
                    ..
                }
            ),
            "{error}"
        );
    }
}

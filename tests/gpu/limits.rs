//! Devices that grant little, contexts that grow, drivers that count iterations.

use wgpu_attention::caps::Subgroups;
use wgpu_attention::internal::{Strategy, Variant};
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::Mask;
use wgpu_attention::{Attention, Caps, Element, Error, PlanOptions};

use crate::device::{Gpu, gpu, left_out};
use crate::run::{check, run, run_and_check, strategies, variants};
use crate::support::cases::{self, Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

/// Every third case of the table.
fn some_cases(setting: &Setting) -> Vec<Case> {
    cases::all(setting).into_iter().step_by(3).collect()
}

#[test]
fn a_device_requested_without_any_wish() {
    let gpu = Gpu::least();
    let caps = gpu.attention.caps().clone();
    let least = Caps::BASELINE
        .with_adapter(caps.adapter.clone())
        .with_quirks(caps.quirks.clone())
        .with_class(caps.class)
        .with_iterations(caps.iterations)
        .with_subgroups_offered(caps.subgroups_offered)
        .with_lanes(caps.lanes)
        .with_int64(false);
    assert_eq!(caps, least);
    for setting in [
        Setting::new(64, 64, Element::F32),
        Setting::new(192, 128, Element::F16),
        Setting::new(33, 17, Element::BF16),
    ] {
        for (n, case) in some_cases(&setting).iter().enumerate() {
            let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
            let plan = run_and_check(&gpu, case, &inputs, &PlanOptions::default());
            let uses_subgroups = |v: &Variant| matches!(v, Variant::Prefill(key) if key.strategy != Strategy::Workgroup);
            assert!(!variants(&plan).iter().any(uses_subgroups), "{plan}");
        }
    }
}

/// What the planner takes by itself, for every element.
#[test]
fn default_choices() {
    let gpu = gpu();
    for element in Element::ALL {
        for strategy in strategies(gpu) {
            for (n, case) in some_cases(&Setting::new(64, 64, element))
                .iter()
                .enumerate()
            {
                run_and_check(
                    gpu,
                    case,
                    &Inputs::new(case, Data::Normal(1.0), n as u64),
                    &strategy,
                );
            }
        }
    }
}

#[test]
fn clusters_narrower_than_the_subgroup() {
    let gpu = gpu();
    let Some(subgroups) = gpu.attention.caps().subgroups else {
        return;
    };
    let choice = PlanOptions::default()
        .with_strategy(StrategyKind::Subgroup)
        .with_width(4);
    for (n, case) in some_cases(&Setting::new(40, 24, Element::F32))
        .iter()
        .enumerate()
    {
        let plan = run_and_check(
            gpu,
            case,
            &Inputs::new(case, Data::Normal(1.0), n as u64),
            &choice,
        );
        for variant in variants(&plan) {
            if let Variant::Prefill(key) = variant {
                assert_eq!(
                    key.strategy,
                    Strategy::Subgroup {
                        width: 4,
                        fixed: subgroups.min == 4 && subgroups.max == 4
                    }
                );
            }
        }
    }
}

#[test]
fn a_growing_context_compiles_nothing_new() {
    let gpu = gpu();
    let attention = Attention::with_caps(&gpu.device, gpu.attention.caps().clone())
        .expect("caps of the device");
    let step = |kv_len: u32| {
        let setting = Setting::new(32, 32, Element::F32);
        let case = Case::new("a step", &setting, Sizes::two(4, 2, 5, kv_len))
            .with(|p| p.mask = Mask::causal());
        let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
        let (plan, output) = run(gpu, &attention, &case, &inputs, &PlanOptions::default());
        check(&case, &inputs, &output, &plan.to_string());
    };
    [5, 3000].into_iter().for_each(step);
    let compiled = attention.compiled_variants();
    [6, 7, 8, 9, 31, 64, 65, 100, 511, 1000, 2999]
        .into_iter()
        .for_each(step);
    assert_eq!(attention.compiled_variants(), compiled);
}

/// lavapipe silently ends an invocation after 65 535 loop iterations.
#[test]
fn past_the_iteration_cap() {
    if left_out("600 000 keys, past lavapipe's cap on iterations") {
        return;
    }
    let gpu = gpu();
    let case = Case::new(
        "600 000 keys",
        &Setting::new(8, 8, Element::F32),
        Sizes::one(4, 600_000),
    )
    .with(|p| p.mask = Mask::causal());
    let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
    for choice in strategies(gpu) {
        run_and_check(gpu, &case, &inputs, &choice);
    }
}

/// A device of one subgroup width, taken for one of another: kernels would read other lanes than they mean.
#[test]
fn subgroups_of_another_width_are_refused() {
    let gpu = gpu();
    let Some(subgroups) = gpu.attention.caps().subgroups else {
        return;
    };
    for (min, max) in [
        (2 * subgroups.min, 2 * subgroups.max),
        (2 * subgroups.min, subgroups.max),
        (subgroups.min / 2, subgroups.max / 2),
    ] {
        let caps = gpu
            .attention
            .caps()
            .clone()
            .with_subgroups(Subgroups::new(min, max));
        let refused = Attention::with_caps(&gpu.device, caps).err();
        assert!(
            matches!(
                refused,
                Some(Error::Claim {
                    what: "subgroups",
                    ..
                })
            ),
            "{min} to {max}: {refused:?}"
        );
    }
}

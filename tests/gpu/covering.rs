//! The case table against every covering variant that the adapter can run.

use std::collections::BTreeSet;
use std::time::Instant;

use wgpu_attention::internal::{Address, PackRows, Prefill, Strategy, Variant};
use wgpu_attention::{Element, PlanOptions};

use crate::device::{Gpu, Pace, gpu, is_part, left_out, say};
use crate::run::{check, run, variants};
use crate::support::cases::{self, Case, Setting};
use crate::support::inputs::{Data, Inputs};
use crate::support::variants::forward::{self, can_run, cases_of, choice, data};

/// Runs the cases that `variant` is taken for; answers how many, and every variant that took part.
fn run_variant(
    gpu: &Gpu,
    number: usize,
    variant: &Variant,
    (key, decode): (&Prefill, bool),
    seen: &mut BTreeSet<Variant>,
) -> usize {
    let varying = gpu.of_varying_width();
    let is_fixed = !matches!(
        key.strategy,
        Strategy::Subgroup { fixed: false, .. } | Strategy::Channels { fixed: false, .. }
    );
    let attention = if is_fixed { &gpu.attention } else { &varying };
    let choice = choice(key, decode);
    let mut count = 0;
    for (n, case) in cases_of(key).iter().enumerate() {
        let plan = attention
            .plan_with(&case.problem, &choice)
            .unwrap_or_else(|e| panic!("{variant}, {}: {e}", case.name));
        let used = variants(&plan);
        let is_forward = used.iter().any(|v| forward::key(v).is_some());
        if (is_forward && !used.contains(variant)) || (is_part() && n % 5 != number % 5) {
            continue;
        }
        let inputs = Inputs::new(case, data(n, key), n as u64);
        let (plan, output) = run(gpu, attention, case, &inputs, &choice);
        check(
            case,
            &inputs,
            &output,
            &format!("{}: {variant}\nseed {n}\n{plan}", case.name),
        );
        seen.extend(variants(&plan));
        count += usize::from(is_forward);
    }
    count
}

#[test]
fn every_case_with_every_variant_that_can_run_here() {
    let gpu = gpu();
    left_out("four of five cases of the table, for each variant");
    let mut seen = BTreeSet::new();
    let (mut runs, mut expected) = (0, BTreeSet::new());
    let variants = crate::support::covering::forward();
    let mut pace = Pace::new("forward variants", variants.len());
    for (number, variant) in variants.into_iter().enumerate() {
        pace.at(number);
        let Some((key, decode)) = forward::key(&variant) else {
            continue;
        };
        // Caches and ragged batches have tests of their own.
        let strided = [key.q_address, key.v_address] == [Address::Strided; 2];
        if strided && can_run(&key, gpu.attention.caps()) {
            let start = Instant::now();
            let count = run_variant(gpu, number, &variant, (&key, decode), &mut seen);
            assert!(count > 0, "no case of the table has the variant {variant}");
            println!(
                "{variant}, {}: {count} cases in {:.1} s",
                key.tiling,
                start.elapsed().as_secs_f32()
            );
            runs += count;
            expected.insert(variant);
        }
    }
    let forward: BTreeSet<_> = seen
        .iter()
        .copied()
        .filter(|v| forward::key(v).is_some())
        .collect();
    assert_eq!(
        forward, expected,
        "a variant that could run did not, or another took its place"
    );
    say(&format!(
        "{runs} cases with {} forward variants",
        expected.len()
    ));
}

/// Fill steps, and pack steps by outputs that go through scratch.
#[test]
fn every_merge_and_pack_variant() {
    let gpu = gpu();
    let mut seen = BTreeSet::new();
    for element in Element::ALL {
        for dim in [1, 17, 18, 33, 64] {
            let cases = cases::all(&Setting::new(dim, dim, element));
            for (n, case) in cases
                .iter()
                .enumerate()
                .filter(|(n, _)| n % 3 == 0 || dim == 33)
            {
                let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
                let choice = PlanOptions::default().with_shared_outputs(n % 2 == 0);
                let (plan, output) = run(gpu, &gpu.attention, case, &inputs, &choice);
                check(case, &inputs, &output, &format!("{}\n{plan}", case.name));
                seen.extend(variants(&plan));
            }
            let empty = Case::new(
                "no key",
                &Setting::new(dim, dim, element),
                cases::Sizes::two(2, 1, 5, 0),
            );
            let inputs = Inputs::new(&empty, Data::Normal(1.0), 0);
            let (plan, output) = run(
                gpu,
                &gpu.attention,
                &empty,
                &inputs,
                &PlanOptions::default(),
            );
            check(&empty, &inputs, &output, &plan.to_string());
            seen.extend(variants(&plan));
        }
    }
    // Rotations and tables are operations of their own.
    let others = crate::support::covering::forward()
        .into_iter()
        .filter(|v| match v {
            Variant::Merge(_) => true,
            Variant::Pack(key) => key.rows == PackRows::InOrder,
            Variant::Prefill(_)
            | Variant::Decode(_)
            | Variant::Append(_)
            | Variant::Rotate(_)
            | Variant::Hadamard(_)
            | Variant::Delta(_)
            | Variant::GradQ(_)
            | Variant::GradKv(_)
            | Variant::GradBias(_)
            | Variant::GradKeyBias(_)
            | Variant::GradScore(..)
            | Variant::GradSinks(_)
            | Variant::Reduce(_)
            | Variant::MaxScores(_)
            | Variant::Pool(_)
            | Variant::ScoreBlocks(_)
            | Variant::ScanBlocks(_)
            | Variant::ListBlocks(_)
            | Variant::Sequences(_)
            | Variant::Check(_) => false,
        });
    for variant in others {
        assert!(seen.contains(&variant), "{variant} did not run");
    }
}

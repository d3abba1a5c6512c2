//! A part of the case table against every gradient variant that the adapter can run.

use std::collections::BTreeSet;

use wgpu_attention::plan::{Gradient, MaskKey, Strategy, StrategyKind, Variant};
use wgpu_attention::{Caps, Choice, Element};

use super::run::{Given, run_and_check_on};
use crate::covering::{SOFTCAP, channels};
use crate::device::{Gpu, Pace, gpu, left_out, say};
use crate::run::variants;
use crate::support::cases::{self, Case, Distance, Setting, Turning};
use crate::support::inputs::{Data, Inputs};

/// Of the table's cases every seventh, another one for each variant.
const PART: usize = 7;

fn key(variant: &Variant) -> Option<Gradient> {
    match *variant {
        Variant::GradQ(key)
        | Variant::GradKv(key)
        | Variant::GradBias(key)
        | Variant::GradScore(key, _) => Some(key),
        _ => None,
    }
}

fn can_run(variant: &Variant, key: &Gradient, caps: &Caps) -> bool {
    let fits = match key.strategy {
        Strategy::Workgroup => true,
        Strategy::Subgroup { width, fixed } => caps
            .subgroups
            .is_some_and(|s| width <= s.min && (!fixed || (width == s.min && width == s.max))),
    };
    fits && (!key.wide || caps.int64) && variant.invocations() <= caps.invocations_per_workgroup
}

fn choice(key: &Gradient) -> Choice {
    let (strategy, width) = match key.strategy {
        Strategy::Subgroup { width, .. } => (StrategyKind::Subgroup, Some(width)),
        Strategy::Workgroup => (StrategyKind::Workgroup, None),
    };
    Choice {
        strategy: Some(strategy),
        width,
        tiling: Some(key.tiling),
        wide: Some(key.wide),
        rolled: Some(key.rolled),
        ..Choice::default()
    }
}

fn setting(key: &Gradient) -> Setting {
    let score = key.score;
    let turns = score.temperature || key.input.element != key.value.element;
    Setting {
        softcap: score.softcap.then_some(SOFTCAP),
        bias: score.bias,
        distance: match (score.alibi, score.t5) {
            (true, _) => Some(Distance::Alibi),
            (_, true) => Some(Distance::T5),
            _ => None,
        },
        turning: turns.then_some(Turning {
            layout: Default::default(),
            temperature: score.temperature,
        }),
        positions: score.q_positions,
        ..Setting::new(
            channels(key.chunks),
            channels(key.value_chunks),
            key.value.element,
        )
    }
}

/// A variant for unaligned rows gets tensors that start one element further on.
fn cases_of(key: &Gradient) -> Vec<Case> {
    let mut cases = cases::all(&setting(key));
    for case in cases.iter_mut().filter(|_| !key.value.aligned) {
        let p = &mut case.problem;
        for operand in [&mut p.q, &mut p.k, &mut p.v, &mut p.o] {
            operand.layout.offset += 1;
        }
    }
    cases
}

fn run_variant(gpu: &Gpu, number: usize, variant: &Variant, key: &Gradient) -> usize {
    let varying = gpu.of_varying_width();
    let is_fixed = !matches!(key.strategy, Strategy::Subgroup { fixed: false, .. });
    let attention = if is_fixed { &gpu.attention } else { &varying };
    let mut count = 0;
    for (n, case) in cases_of(key).iter().enumerate() {
        if n % PART != number % PART && count > 0 {
            continue;
        }
        let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
        let given = Given {
            // The kernels of the score's parameters only where one of them is meant: each is compiled anew.
            score: !matches!(variant, Variant::GradQ(_) | Variant::GradKv(_)),
            element: if n % 2 == 0 {
                Element::F32
            } else {
                key.value.element
            },
            ..Given::new(case, n as u64)
        };
        let plan = run_and_check_on(gpu, attention, case, &inputs, &given, &choice(key));
        count += usize::from(variants(&plan).contains(variant));
    }
    count
}

/// SwiftShader's compiler takes a minute and gigabytes for a gradient kernel that keeps so many words an invocation.
fn is_too_long(key: &Gradient, caps: &Caps) -> bool {
    let words = 8 * (key.chunks + key.value_chunks) * key.tiling.rows / key.tiling.lanes_per_row;
    (1..8).contains(&caps.lanes) && words > 256
}

#[test]
fn every_gradient_variant_that_can_run_here() {
    let gpu = gpu();
    let mut ran = BTreeSet::new();
    let variants = Variant::covering_backward();
    let mut pace = Pace::new("gradient variants", variants.len());
    for (number, variant) in variants.into_iter().enumerate() {
        pace.at(number);
        let Some(key) = key(&variant) else { continue };
        if !can_run(&variant, &key, gpu.attention.caps()) {
            continue;
        }
        if number % 4 != 0 && left_out(&format!("gradient variant {variant}")) {
            continue;
        }
        // Lists and documents have tests of their own.
        if key.mask != MaskKey::default() {
            continue;
        }
        if is_too_long(&key, gpu.attention.caps()) {
            say(&format!(
                "left out, too long for this driver's compiler: {variant}"
            ));
            continue;
        }
        let start = std::time::Instant::now();
        let count = run_variant(gpu, number, &variant, &key);
        assert!(count > 0, "no case of the table has the variant {variant}");
        println!(
            "{variant}, {}: {count} cases in {:.1} s",
            key.tiling,
            start.elapsed().as_secs_f32()
        );
        ran.insert(variant);
    }
    say(&format!("{} gradient variants", ran.len()));
}

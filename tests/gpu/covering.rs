//! The case table against every covering variant that the adapter can run.

use std::collections::BTreeSet;
use std::time::Instant;

use wgpu_attention::plan::{PackRows, Prefill, RotateWhere, Strategy, StrategyKind, Variant};
use wgpu_attention::{Caps, Choice, Element};

use crate::device::{Gpu, Pace, gpu, is_part, left_out, say};
use crate::run::{check, run, variants};
use crate::support::cases::{self, Case, Distance, Setting, Turning};
use crate::support::inputs::{Data, Inputs};

pub const SOFTCAP: f32 = 3.0;

fn can_run(key: &Prefill, caps: &Caps) -> bool {
    let fits = match key.strategy {
        Strategy::Workgroup => true,
        Strategy::Subgroup { width, fixed } => caps
            .subgroups
            .is_some_and(|s| width <= s.min && (!fixed || (width == s.min && width == s.max))),
    };
    fits && (!key.wide || caps.int64) && key.tiling.invocations <= caps.invocations_per_workgroup
}

fn choice(key: &Prefill) -> Choice {
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
        rotate: Some(match key.rotary {
            Some(_) => RotateWhere::Fused,
            None => RotateWhere::Pass,
        }),
        ..Choice::default()
    }
}

/// The channels of a covering variant's ⌈D/4⌉.
pub fn channels(chunks: u32) -> u32 {
    match chunks {
        1 | 5 | 9 => 4 * chunks - 3,
        _ => 4 * chunks,
    }
}

fn setting(key: &Prefill) -> Setting {
    let score = key.score;
    Setting {
        head_dim: channels(key.chunks),
        value_dim: channels(key.value_chunks),
        element: key.value.element,
        output: key.output.element,
        softcap: score.softcap.then_some(SOFTCAP),
        bias: score.bias,
        distance: match (score.alibi, score.t5) {
            (true, _) => Some(Distance::Alibi),
            (_, true) => Some(Distance::T5),
            _ => None,
        },
        turning: turns(key).then_some(Turning {
            layout: key.rotary.unwrap_or_default(),
            temperature: score.temperature,
        }),
        positions: score.q_positions,
        block: key
            .mask
            .list
            .then(|| key.tiling.tile_rows().max(key.tiling.tile).max(16)),
        bits: key.mask.bits,
        block_lists: key.mask.device,
        segments: key.mask.segments,
    }
}

/// As they are loaded, or in a pass that makes f32 of q and k.
fn turns(key: &Prefill) -> bool {
    key.rotary.is_some() || key.score.temperature || key.input.element != key.value.element
}

/// The table's cases; a variant for unaligned rows gets rows that start one word further on, or the inputs one element.
fn cases_of(key: &Prefill) -> Vec<Case> {
    let mut cases = cases::all(&setting(key));
    for case in cases.iter_mut().filter(|_| !key.value.aligned) {
        let p = &mut case.problem;
        for operand in [&mut p.q, &mut p.k, &mut p.v] {
            operand.layout.offset += 1;
        }
        p.o.layout.offset += word_elements(key.output.element);
    }
    cases
}

/// A 16-bit output whose words are shared is written by a pack step.
fn word_elements(element: Element) -> u64 {
    4 / element.size()
}

/// A ramp's scores grow with D, and f32's rounding with them; turned by positions they cancel besides.
fn data(n: usize, key: &Prefill) -> Data {
    let turns = key.rotary.is_some() || key.score.temperature || key.input != key.value;
    if n % 2 == 1 && key.chunks < 16 && !turns {
        Data::Ramp
    } else {
        Data::Normal(1.0)
    }
}

/// Runs the cases that `key` is the variant of; answers how many, and every variant that took part.
fn run_variant(gpu: &Gpu, number: usize, key: &Prefill, seen: &mut BTreeSet<Variant>) -> usize {
    let varying = gpu.of_varying_width();
    let is_fixed = !matches!(key.strategy, Strategy::Subgroup { fixed: false, .. });
    let attention = if is_fixed { &gpu.attention } else { &varying };
    let (choice, variant) = (choice(key), Variant::Prefill(*key));
    let mut count = 0;
    for (n, case) in cases_of(key).iter().enumerate() {
        let plan = attention
            .plan_with(&case.problem, &choice)
            .unwrap_or_else(|e| panic!("{variant}, {}: {e}", case.name));
        let used = variants(&plan);
        let forward = used.iter().any(|v| matches!(v, Variant::Prefill(_)));
        if (forward && !used.contains(&variant)) || (is_part() && n % 5 != number % 5) {
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
        count += usize::from(forward);
    }
    count
}

#[test]
fn every_case_with_every_variant_that_can_run_here() {
    let gpu = gpu();
    left_out("four of five cases of the table, for each variant");
    let mut seen = BTreeSet::new();
    let (mut runs, mut expected) = (0, BTreeSet::new());
    let variants = Variant::covering();
    let mut pace = Pace::new("forward variants", variants.len());
    for (number, variant) in variants.into_iter().enumerate() {
        pace.at(number);
        let Variant::Prefill(key) = variant else {
            continue;
        };
        if can_run(&key, gpu.attention.caps()) {
            let start = Instant::now();
            let count = run_variant(gpu, number, &key, &mut seen);
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
        .filter(|v| matches!(v, Variant::Prefill(_)))
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
fn every_combine_and_pack_variant() {
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
                let choice = Choice {
                    shared_outputs: n % 2 == 0,
                    ..Choice::default()
                };
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
            let (plan, output) = run(gpu, &gpu.attention, &empty, &inputs, &Choice::default());
            check(&empty, &inputs, &output, &plan.to_string());
            seen.extend(variants(&plan));
        }
    }
    // Rotations and tables are operations of their own.
    let others = Variant::covering().into_iter().filter(|v| match v {
        Variant::Combine { .. } => true,
        Variant::Pack(key) => key.rows == PackRows::InOrder,
        Variant::Prefill(_)
        | Variant::Rotate(_)
        | Variant::Delta(_)
        | Variant::GradQ(_)
        | Variant::GradKv(_)
        | Variant::GradBias(_)
        | Variant::GradScore(..)
        | Variant::GradSinks
        | Variant::Reduce
        | Variant::Pool(_)
        | Variant::ScoreBlocks(_)
        | Variant::ScanBlocks(_)
        | Variant::ListBlocks(_)
        | Variant::Check => false,
    });
    for variant in others {
        assert!(seen.contains(&variant), "{variant} did not run");
    }
}

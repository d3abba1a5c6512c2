//! A part of the case table against every gradient variant that the adapter can run.

use std::collections::BTreeSet;

use wgpu_attention::internal::{Address, Gradient, MaskKey, Strategy, Variant};
use wgpu_attention::{Caps, Element};

use super::run::{Given, run_and_check_on};
use crate::device::{Gpu, Pace, gpu, left_out, say};
use crate::run::variants;
use crate::support::inputs::{Data, Inputs};
use crate::support::variants::backward::{can_run, cases_of, choice, key};

/// Of the table's cases every seventh, another one for each variant.
const PART: usize = 7;

fn run_variant(gpu: &Gpu, number: usize, variant: &Variant, key: &Gradient) -> usize {
    let varying = gpu.of_varying_width();
    let is_fixed = !matches!(key.strategy, Strategy::Subgroup { fixed: false, .. });
    let attention = if is_fixed { &gpu.attention } else { &varying };
    let mut count = 0;
    for (n, case) in cases_of(variant, key).iter().enumerate() {
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

/// SwiftShader's compiler takes a minute and gigabytes for a gradient kernel that keeps so many words per invocation.
fn is_too_long(key: &Gradient, caps: &Caps) -> bool {
    let words = 8 * (key.chunks + key.value_chunks) * key.tiling.rows / key.tiling.lanes_per_row;
    (1..8).contains(&caps.lanes) && words > 256
}

#[test]
fn every_gradient_variant_that_can_run_here() {
    let gpu = gpu();
    let mut ran = BTreeSet::new();
    let variants = crate::support::covering::backward::all();
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
        // Lists, documents and ragged batches have tests of their own.
        if key.mask != MaskKey::default() || key.q_address != Address::Strided {
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

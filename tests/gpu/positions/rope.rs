//! Attention over rotated q and k against the reference.

use wgpu_attention::internal::Variant;
use wgpu_attention::plan::RotateWhere;
use wgpu_attention::problem::position::{
    Precision, RopeKind, Rotary, RotaryLayout, Side, Temperature, XPos,
};
use wgpu_attention::problem::{Lengths, Mask, Offsets, Positions, Slice};
use wgpu_attention::{Attention, Element, Error, PlanOptions};

use super::{LAYOUTS, agree, everywhere};
use crate::cuts::merge;
use crate::device::gpu;
use crate::run::{check, run, run_and_check, strategies, variants};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::error;
use crate::support::inputs::{Data, Inputs};
use crate::support::rotary::{kinds, rotate};
use crate::support::tensor::scatter;

fn grouped(name: impl Into<String>, dim: u32, element: Element) -> Case {
    Case::new(
        name,
        // Whole eights of channels where q and k have them.
        &Setting::new(dim, if dim.is_multiple_of(8) { 16 } else { 12 }, element),
        Sizes::two(4, 2, 21, 34),
    )
}

fn masks() -> Vec<Mask> {
    let lens = Mask::causal()
        .with_kv_lens(Lengths::Host(vec![34, 19]))
        .with_q_offset(Offsets::Host(vec![9, -3]));
    vec![Mask::default(), Mask::causal(), Mask::window(7, 2), lens]
}

#[test]
fn every_kind_fused_and_in_a_pass() {
    for (name, kind) in kinds(16) {
        for (layout, mask) in LAYOUTS
            .into_iter()
            .flat_map(|l| masks().into_iter().map(move |m| (l, m)))
        {
            let rotary = Rotary::new(16).with_kind(kind.clone()).with_layout(layout);
            let case = grouped(format!("{name} {layout:?} {mask:?}"), 16, Element::F32).with(|p| {
                p.mask = mask;
                p.position.rotary = Some(rotary);
            });
            let plans = agree(&case, &everywhere());
            let fused = |v: &Variant| matches!(v, Variant::Prefill(key) if key.rotary.is_some());
            let fuses: Vec<bool> = plans
                .iter()
                .map(|p| variants(p).iter().any(fused))
                .collect();
            assert_eq!(&fuses[..2], [true, false], "{}", plans[0]);
            let part = case.with(|p| p.slice = Some(Slice { q: 3..18, k: 5..29 }));
            agree(&part, &everywhere()[..2]);
        }
    }
}

/// Lengths that switch or stretch frequencies: LongRoPE's two lists, dynamic NTK.
#[test]
fn kinds_that_depend_on_length() {
    for (name, kind) in kinds(16) {
        for length in [Some(1), Some(100_000)] {
            let case = grouped(format!("{name} {length:?}"), 16, Element::F32).with(|p| {
                p.position.rotary = Some(Rotary::new(16).with_kind(kind.clone()));
                p.position.length = length;
            });
            agree(&case, &everywhere()[..1]);
        }
    }
}

#[test]
fn variations_of_a_rotation() {
    let temperature = Some(Temperature::new(0.4, 8).with_offset(1));
    let plain = Rotary::new(16);
    let variations = [
        plain.clone().with_temperature(temperature),
        plain.clone().with_xpos(XPos::new(10)),
        plain
            .clone()
            .with_xpos(XPos::new(-40))
            .with_layout(RotaryLayout::Interleaved)
            .with_temperature(temperature),
        plain.with_precision(Precision::AsTrained).with_dim(8),
    ];
    for rotary in variations {
        for mask in masks() {
            let case = grouped(format!("{rotary:?} {mask:?}"), 16, Element::F32).with(|p| {
                p.mask = mask;
                p.position.rotary = Some(rotary.clone());
            });
            agree(&case, &everywhere());
        }
    }
}

/// xPos far from 0: its table holds no positions that its factors cannot reach.
#[test]
fn xpos_about_a_far_centre() {
    let rotary = Rotary::new(16).with_xpos(XPos::new(40_000));
    let far = |len: i32| Positions::Host((0..2 * len).map(|n| 39_900 + 7 * n).collect());
    let case = grouped("xpos about 40000", 16, Element::F32).with(|p| {
        p.position.rotary = Some(rotary);
        p.position.q_positions = far(21);
        p.position.k_positions = far(34);
    });
    agree(&case, &everywhere());
}

/// Sizes whose pairs do not fall into whole 4-vectors are left to the pass, and sixteen-bit rows are rotated into f32.
#[test]
fn partial_and_odd_sizes_of_every_element() {
    let all = &Element::ALL[..];
    for (dim, rotating, elements) in [
        (33, 6, all),
        (20, 10, all),
        (33, 32, &all[..1]),
        (6, 2, &all[..1]),
        (40, 24, &all[..1]),
        (16, 4, &all[..1]),
    ] {
        for (layout, &element) in LAYOUTS
            .into_iter()
            .flat_map(|l| elements.iter().map(move |e| (l, e)))
        {
            let rotary = Rotary::new(dim).with_dim(rotating).with_layout(layout);
            let name = format!("{rotating} of {dim}, {layout:?}, {element}");
            let case = grouped(name, dim, element).with(|p| {
                p.mask = Mask::causal();
                p.position.rotary = Some(rotary);
            });
            agree(&case, &strategies(gpu()));
        }
    }
}

/// Rotary channels that are the last of a row, as latent attention has them.
#[test]
fn channels_at_the_end_of_a_row() {
    for ([head_dim, dim], fuses) in [
        ([24, 8], true),
        ([48, 16], true),
        ([28, 8], true),
        ([22, 6], false),
    ] {
        for layout in LAYOUTS {
            let rotary = Rotary::new(head_dim)
                .with_start(head_dim - dim)
                .with_dim(dim)
                .with_layout(layout);
            let case = grouped(format!("{rotary}"), head_dim, Element::F32).with(|p| {
                p.mask = Mask::causal();
                p.position.rotary = Some(rotary);
            });
            if fuses {
                agree(&case, &everywhere());
            } else {
                agree(&case, &strategies(gpu()));
            }
        }
    }
}

/// Keys that a cache holds rotated: queries alone are rotated, and what factor cosines have is put on once.
#[test]
fn keys_that_are_rotated_already() {
    for ((name, kind), layout) in kinds(16).into_iter().zip(LAYOUTS.into_iter().cycle()) {
        let rotary = Rotary::new(16).with_kind(kind).with_layout(layout);
        let plain = grouped(format!("{name}, keys rotated"), 16, Element::F32).with(|p| {
            p.mask = Mask::causal();
            p.position.rotary = Some(rotary.clone());
            p.position.length = Some(64);
        });
        let held = plain.clone().with(|p| p.position.k_rotated = true);
        let inputs = Inputs::new(&plain, Data::Normal(1.0), 6);
        let mut cached = inputs.clone();
        cached.k = rotated_rows(&rotary, &inputs.k, 34);
        let k = held.problem.k;
        let bytes = &mut cached.buffers[cached.slots[1]];
        scatter(bytes, k.element, &k.layout, [2, 2, 34], &cached.k);
        for choice in strategies(gpu()) {
            let (plan, output) = run(gpu(), &gpu().attention, &held, &cached, &choice);
            check(&held, &cached, &output, &plan.to_string());
            let rotates = variants(&plan)
                .into_iter()
                .filter(|v| matches!(v, Variant::Rotate(_)));
            assert_eq!(rotates.count(), 1, "{plan}");
            assert!(plan.to_string().contains("k holds rotated keys"), "{plan}");
            // As if the keys had been rotated here.
            let (_, other) = run(gpu(), &gpu().attention, &plain, &inputs, &choice);
            let apart = error(&output.forward(&held).o, &other.forward(&plain).o);
            assert!(apart < 1e-5, "{name}: {apart:e}");
        }
    }
}

/// Rows `[.., tokens, 16]` at positions 0, 1, …, by the definition.
fn rotated_rows(rotary: &Rotary, rows: &[f64], tokens: usize) -> Vec<f64> {
    let row = |(n, row): (usize, &[f64])| {
        let row: Vec<f32> = row.iter().map(|&x| x as f32).collect();
        let rotated = rotate(rotary, &row, (n % tokens) as i32, Side::Key, 64);
        rotated.into_iter().map(|x| f64::from(x as f32))
    };
    rows.chunks_exact(16).enumerate().flat_map(row).collect()
}

/// Kernels read q and k in one type: sixteen-bit keys are widened as they are.
#[test]
fn rotated_keys_of_every_element_and_size() {
    for (dim, rotating) in [(16, 16), (24, 8), (22, 6)] {
        for (element, layout) in Element::ALL
            .into_iter()
            .flat_map(|e| LAYOUTS.map(|l| (e, l)))
        {
            let name = format!("{rotating} of {dim}, {layout:?}, {element}, keys rotated");
            let case = grouped(name, dim, element).with(|p| {
                p.mask = Mask::causal();
                p.position.k_rotated = true;
                p.position.rotary = Some(
                    Rotary::new(dim)
                        .with_start(dim - rotating)
                        .with_dim(rotating)
                        .with_layout(layout),
                );
            });
            agree(&case, &strategies(gpu()));
        }
    }
}

#[test]
fn rotated_keys_cannot_be_fused() {
    let case = grouped("fused keys", 16, Element::F32).with(|p| {
        p.position.rotary = Some(Rotary::new(16));
        p.position.k_rotated = true;
    });
    let choice = PlanOptions::default().with_rotate(RotateWhere::Fused);
    let refused = gpu().attention.plan_with(&case.problem, &choice);
    let message = refused.expect_err("no kernel rotates q alone").to_string();
    assert!(message.contains("k holds rotated keys"), "{message}");
}

/// Layers without positions may still have a temperature by them.
#[test]
fn a_temperature_without_a_rotation() {
    let rotary = Rotary::new(16)
        .with_kind(RopeKind::Nope)
        .with_temperature(Temperature::new(0.4, 8).with_offset(1));
    let case = grouped("nope", 16, Element::F32).with(|p| {
        p.mask = Mask::causal();
        p.position.rotary = Some(rotary);
    });
    for plan in agree(&case, &everywhere()) {
        let rotates = |v: &Variant| matches!(v, Variant::Rotate(_));
        assert!(!variants(&plan).iter().any(rotates), "{plan}");
    }
}

#[test]
fn ragged_pairs_cannot_be_fused() {
    let case = grouped("ragged", 20, Element::F32).with(|p| {
        p.position.rotary = Some(Rotary::new(20).with_dim(10));
    });
    let choice = PlanOptions::default().with_rotate(RotateWhere::Fused);
    let refused = gpu().attention.plan_with(&case.problem, &choice);
    assert!(
        matches!(refused, Err(Error::Strategy { .. })),
        "{refused:?}"
    );
}

#[test]
fn sixteen_bits_fused_and_in_a_pass() {
    for element in [Element::F16, Element::BF16] {
        for layout in LAYOUTS {
            for row in [24, 27] {
                let name = format!("{element} {layout:?}, rows {row} apart");
                let case = grouped(name, 24, element).with(|p| {
                    p.mask = Mask::causal();
                    p.position.rotary = Some(Rotary::new(24).with_layout(layout));
                    p.k.layout.row = row;
                    p.k.layout.head = row * 34;
                    p.k.layout.batch = row * 68;
                    p.o.element = Element::F32;
                });
                agree(&case, &everywhere());
            }
        }
    }
}

/// Positions that jump, repeat and are negative; causal goes by indices.
fn jumps(step: i32, start: i32, tokens: i32) -> Vec<i32> {
    (0..tokens).map(|n| step * (n % 29) + start).collect()
}

#[test]
fn given_positions_near_and_far() {
    for (q, k) in [
        (jumps(3, -20, 42), jumps(-2, 15, 68)),
        (jumps(0, 5, 42), jumps(1, 0, 68)),
        (jumps(71_003, -1_000_003, 42), jumps(-9_001, 1_000_003, 68)),
        (jumps(1, 1_000_003, 42), jumps(1, 1_000_000, 68)),
    ] {
        for layout in LAYOUTS {
            let name = format!("positions {:?} and {:?}", &q[..3], &k[..3]);
            let case = grouped(name, 16, Element::F32).with(|p| {
                p.mask = Mask::causal();
                p.position.rotary = Some(Rotary::new(16).with_layout(layout));
                p.position.q_positions = Positions::Host(q.clone());
                p.position.k_positions = Positions::Host(k.clone());
            });
            agree(&case, &everywhere());
        }
    }
}

/// A query far behind the keys: no table of all positions in between.
#[test]
fn offsets_far_away() {
    let case = grouped("far offsets", 16, Element::F32).with(|p| {
        p.mask.q_offset = Offsets::Host(vec![200_000_000, -100_000_000]);
        p.position.rotary = Some(Rotary::new(16));
    });
    agree(&case, &everywhere());
}

/// On the device, inside of the stated range and beyond it: then the nearest position's rotation.
#[test]
fn positions_on_the_device() {
    let range = -30..=50;
    for (q, k) in [
        (jumps(2, -20, 42), jumps(-1, 15, 68)),
        (jumps(40_000_000, -90, 42), jumps(-70, i32::MAX, 68)),
    ] {
        let mut case = grouped("positions on the device", 16, Element::F32).with(|p| {
            p.mask = Mask::causal();
            p.position.rotary = Some(Rotary::new(16));
            p.position.q_positions = Positions::Device;
            p.position.k_positions = Positions::Device;
            p.position.range = Some(range.clone());
        });
        let clamped = |p: &[i32]| {
            p.iter()
                .map(|p| *p.clamp(range.start(), range.end()))
                .collect()
        };
        let mut held = case.clone();
        (held.values.q_positions, held.values.k_positions) = (Some(clamped(&q)), Some(clamped(&k)));
        (case.values.q_positions, case.values.k_positions) = (Some(q), Some(k));
        let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
        for choice in everywhere() {
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            check(&held, &inputs, &output, &format!("{choice:?}\n{plan}"));
        }
    }
    let unstated = grouped("unstated", 16, Element::F32).with(|p| {
        p.position.rotary = Some(Rotary::new(16));
        p.position.q_positions = Positions::Device;
    });
    assert_eq!(
        gpu().attention.plan(&unstated.problem),
        Err(Error::Unstated)
    );
}

#[test]
fn offsets_on_the_device() {
    let mut case = grouped("offsets on the device", 16, Element::F32).with(|p| {
        p.mask = Mask::causal().with_q_offset(Offsets::Device);
        p.position.rotary = Some(Rotary::new(16));
        p.position.range = Some(-10..=60);
    });
    case.q_offset = Some(vec![13, -4]);
    agree(&case, &everywhere());
}

/// A cut changes no position: slices of queries, splits and row slices, and slices of keys merged.
#[test]
fn cuts_of_a_rotated_problem() {
    let rotary = Rotary::new(16).with_temperature(Temperature::new(0.2, 4));
    let whole = grouped("cut", 16, Element::F32).with(|p| {
        p.mask = Mask::causal();
        p.position.rotary = Some(rotary);
    });
    let part = whole
        .clone()
        .with(|p| p.slice = Some(Slice { q: 3..18, k: 5..29 }));
    agree(&part, &everywhere());
    for choice in everywhere() {
        let cut = choice.clone().with_splits(3).with_slice_rows(8);
        let inputs = Inputs::new(&whole, Data::Normal(1.0), 5);
        run_and_check(gpu(), &whole, &inputs, &cut);
        let (mut o, mut lse) = (Vec::new(), Vec::new());
        for k in [0..9, 9..9, 9..34] {
            let part = whole
                .clone()
                .with(|p| p.slice = Some(Slice { q: 0..21, k }));
            let (_, out) = run(gpu(), &gpu().attention, &part, &inputs, &choice);
            o.extend(out.o);
            lse.extend(out.lse);
        }
        let merged = merge(&whole, Element::F32, &o, &lse);
        check(&whole, &inputs, &merged, &format!("merged, {choice:?}"));
    }
}

/// One token at a time: pipelines stay, the table grows, and is made anew where the length changes frequencies.
#[test]
fn a_growing_context() {
    let gpu = gpu();
    for (name, kind) in kinds(16) {
        let attention = Attention::with_adapter(&gpu.adapter, &gpu.device);
        let mut compiled = None;
        for len in [5, 6, 40, 41, 300] {
            let sizes = Sizes::two(2, 1, 1, len);
            let setting = Setting::new(16, 12, Element::F32);
            let case = Case::new(format!("{name}, {len} keys"), &setting, sizes).with(|p| {
                p.mask = Mask::causal();
                p.position.rotary = Some(Rotary::new(16).with_kind(kind.clone()));
            });
            let inputs = Inputs::new(&case, Data::Normal(1.0), len.into());
            let choice = PlanOptions::default().with_splits(1);
            let (plan, output) = run(gpu, &attention, &case, &inputs, &choice);
            check(&case, &inputs, &output, &plan.to_string());
            let now = attention.compiled_variants();
            assert_eq!(*compiled.get_or_insert(now), now, "{plan}");
        }
    }
}

//! What stands behind a mask changes nothing, be it NaN; what is visible shows in its own rows only.

use std::collections::BTreeSet;

use wgpu_attention::problem::{Lengths, Mask, Mods, Slice};
use wgpu_attention::reference::visible;
use wgpu_attention::{Element, PlanOptions};

use crate::device::{gpu, say};
use crate::run::{Output, run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::encode;

/// The input that gets a NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Key,
    Value,
}

/// Rows that are loaded by fours and by eights of channels.
fn cases(element: Element) -> Vec<Case> {
    let dims = [(20, 12), (24, 16)];
    dims.into_iter()
        .flat_map(|(d, dv)| masked(Setting::new(d, dv, element)))
        .collect()
}

fn masked(setting: Setting) -> Vec<Case> {
    let setting = Setting {
        output: Element::F32,
        ..setting
    };
    let lens = Mask::default().with_kv_lens(Lengths::Host(vec![29]));
    [
        lens,
        Mask::causal(),
        Mask::window(5, 2),
        Mask::window(4, 0).with_first(3),
    ]
    .into_iter()
    .map(|mask| {
        Case::new(format!("{mask:?}"), &setting, Sizes::one(35, 43)).with(|p| p.mask = mask)
    })
    .collect()
}

/// The inputs with one NaN in key or value `j`.
fn with_nonfinite(case: &Case, inputs: &Inputs, input: Input, j: usize) -> Inputs {
    let mut inputs = inputs.clone();
    let (values, dim, slot) = match input {
        Input::Key => (&mut inputs.k, case.problem.shape.head_dim, 1),
        Input::Value => (&mut inputs.v, case.problem.shape.value_dim, 2),
    };
    values[j * dim as usize + 2] = f64::NAN;
    inputs.buffers[slot] = encode(case.problem.k.element, values);
    inputs
}

/// Without a NaN anywhere, hidden keys included.
fn clean(case: &Case) -> Inputs {
    let full = case.clone().with(|p| p.mask = Mask::default());
    Inputs::new(&full, Data::Normal(1.0), 4)
}

/// Whether the driver's arithmetic keeps a NaN: WGSL does not promise it.
fn keeps_nan(choice: &PlanOptions, input: Input) -> bool {
    let case = Case::new(
        "one pair",
        &Setting::new(20, 12, Element::F32),
        Sizes::one(1, 1),
    );
    let inputs = with_nonfinite(&case, &clean(&case), input, 0);
    let (_, out) = run(gpu(), &gpu().attention, &case, &inputs, choice);
    let got = out.forward(&case);
    // Some drivers' logarithm of NaN is a number.
    got.o[2].is_nan() && (input == Input::Value || got.lse[0].is_nan())
}

/// `[Nq]` rows as bits, o and lse together.
fn rows(case: &Case, out: &Output) -> Vec<Vec<u8>> {
    let dim = case.problem.shape.value_dim as usize * 4;
    out.o
        .chunks(dim)
        .zip(out.lse.chunks(4))
        .map(|(o, lse)| [o, lse].concat())
        .collect()
}

fn hold(case: &Case, choice: &PlanOptions, input: Input, j: usize, shows: bool) {
    let (gpu, inputs) = (gpu(), clean(case));
    let (plan, clean) = run(gpu, &gpu.attention, case, &inputs, choice);
    let (_, with_nan) = run(
        gpu,
        &gpu.attention,
        case,
        &with_nonfinite(case, &inputs, input, j),
        choice,
    );
    let forward = with_nan.forward(case);
    let tensors = inputs.tensors(case);
    let dim = case.problem.shape.value_dim as usize;
    for (i, (before, after)) in rows(case, &clean)
        .iter()
        .zip(rows(case, &with_nan))
        .enumerate()
    {
        let context = || format!("row {i}, {input:?} {j}, {}\n{plan}", case.name);
        if !visible(&case.problem, &tensors, 0, 0, i as u32, j as u32) {
            assert_eq!(before, &after, "a hidden NaN changed {}", context());
        } else if shows {
            assert!(
                forward.o[i * dim + 2].is_nan(),
                "a visible NaN is lost in {}",
                context()
            );
            assert_eq!(
                forward.lse[i].is_nan(),
                input == Input::Key,
                "lse of {}",
                context()
            );
        }
    }
}

#[test]
fn a_nan_stays_in_the_rows_that_see_it() {
    for choice in strategies(gpu()) {
        let shows = |input| keeps_nan(&choice, input);
        let shows = (shows(Input::Key), shows(Input::Value));
        if shows != (true, true) {
            say(&format!(
                "this driver drops NaN ({:?}; kept in keys, values: {shows:?}): that a visible one shows is not tested there",
                choice.strategy
            ));
        }
        for case in Element::ALL.into_iter().flat_map(cases) {
            let keys = BTreeSet::from([0, 7, 16, 28, 29, 31, 42]);
            for (j, input) in keys
                .iter()
                .flat_map(|&j| [(j, Input::Key), (j, Input::Value)])
            {
                let shows = match input {
                    Input::Key => shows.0,
                    Input::Value => shows.1,
                };
                hold(&case, &choice, input, j, shows);
            }
        }
    }
}

fn nan_in(case: &Case, slot: usize, rows: std::ops::Range<usize>) -> Inputs {
    let mut inputs = Inputs::new(case, Data::Normal(1.0), 2);
    let dim = case.problem.shape.head_dim as usize;
    let values = if slot == 0 {
        &mut inputs.q
    } else {
        &mut inputs.k
    };
    values[rows.start * dim..rows.end * dim].fill(f64::NAN);
    inputs.buffers[slot] = encode(Element::F32, values);
    inputs
}

fn assert_all_nan(case: &Case, out: &Output, context: &str) {
    let got = out.forward(case);
    let lost = |x: &[f64]| x.iter().any(|x| !x.is_nan());
    assert!(!lost(&got.o), "a NaN is lost in o: {context}");
    assert!(!lost(&got.lse), "a NaN is lost in lse: {context}");
}

/// Rows all of whose scores are NaN, in one part of the keys or in all of them, split and merged: no maximum tells them
/// from fully masked rows.
#[test]
fn a_nan_shows_where_keys_are_split() {
    let setting = Setting::new(8, 8, Element::F32);
    let case = Case::new("split", &setting, Sizes::one(5, 64));
    for choice in strategies(gpu()) {
        if !keeps_nan(&choice, Input::Key) {
            say("this driver drops NaN: that one shows where keys are split is not tested there");
            continue;
        }
        for (slot, rows) in [(0, 0..5), (1, 0..32), (1, 32..64), (1, 0..64), (1, 40..41)] {
            let inputs = nan_in(&case, slot, rows.clone());
            for splits in [None, Some(2), Some(5)] {
                let choice = choice.clone().with_splits(splits);
                let (plan, out) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
                assert_all_nan(&case, &out, &format!("{slot} {rows:?}\n{plan}"));
            }
            let (mut o, mut lse) = (Vec::new(), Vec::new());
            for k in [0..32, 32..64] {
                let part = case.clone().with(|p| p.slice = Some(Slice { q: 0..5, k }));
                let (_, out) = run(gpu(), &gpu().attention, &part, &inputs, &choice);
                o.extend(out.o);
                lse.extend(out.lse);
            }
            let merged = crate::cuts::merge(&case, Element::F32, &o, &lse);
            assert_all_nan(
                &case,
                &merged,
                &format!("merged, {slot} {rows:?}, {choice:?}"),
            );
        }
    }
}

/// One row of many keys, which the plan splits by itself.
#[test]
fn a_nan_shows_where_the_plan_splits_keys() {
    let setting = Setting::new(8, 8, Element::F32);
    let case = Case::new("many keys", &setting, Sizes::one(1, 60_000));
    for choice in strategies(gpu()) {
        if keeps_nan(&choice, Input::Key) {
            let (plan, out) = run(
                gpu(),
                &gpu().attention,
                &case,
                &nan_in(&case, 0, 0..1),
                &choice,
            );
            assert_all_nan(&case, &out, &plan.to_string());
        }
    }
}

/// What a score_mod answers is a score like another.
#[test]
fn a_nan_of_a_score_mod_shows() {
    let text = "fn score_mod(x: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    var bits = select(bitcast<u32>(x), 0x7fc00000u, j >= 32u && i > 0u);
    return bitcast<f32>(bits);
}";
    let setting = Setting::new(8, 8, Element::F32);
    let case = Case::new("score_mod", &setting, Sizes::one(3, 64))
        .with(|p| p.mods = Some(Mods::new(text).expect("a sound text")));
    let inputs = Inputs::new(&case, Data::Normal(1.0), 2);
    for choice in strategies(gpu()) {
        if !keeps_nan(&choice, Input::Key) {
            continue;
        }
        for splits in [None, Some(2)] {
            let choice = choice.clone().with_splits(splits);
            let (plan, out) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            let got = out.forward(&case);
            let nan: Vec<bool> = got.lse.iter().map(|x| x.is_nan()).collect();
            assert_eq!(nan, [false, true, true], "{plan}");
            assert!(got.o[..8].iter().all(|x| x.is_finite()), "{plan}");
            assert!(got.o[8..].iter().all(|x| x.is_nan()), "{plan}");
        }
    }
}

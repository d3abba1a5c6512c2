//! Learned sinks: they join a row's sum once, wherever its parts come together.

use wgpu_attention::problem::{Lengths, Mask, Slice, Values};
use wgpu_attention::{Element, PlanOptions};

use crate::cuts::merge;
use crate::device::gpu;
use crate::run::{check, run, run_and_check, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

const SINKS: [f32; 4] = [0.5, -60.0, 70.0, 0.0];

fn case(output: Element) -> Case {
    let setting = Setting {
        output,
        ..Setting::new(12, 10, Element::F32)
    };
    Case::new("sinks", &setting, Sizes::two(4, 2, 19, 45)).with(|p| {
        p.mask = Mask::window(8, 0).with_kv_lens(Lengths::Host(vec![0, 40]));
        p.score.sinks = Some(Values::Host(SINKS.to_vec()));
    })
}

#[test]
fn fully_masked_rows_splits_and_slices_of_rows() {
    let cuts = [
        (None, None),
        (Some(3), None),
        (None, Some(5)),
        (Some(2), Some(8)),
    ];
    for (splits, slice_rows) in cuts {
        for (strategy, output) in strategies(gpu())
            .into_iter()
            .flat_map(|s| Element::ALL.map(|e| (s.clone(), e)))
        {
            let choice = strategy.with_splits(splits).with_slice_rows(slice_rows);
            let case = case(output);
            run_and_check(
                gpu(),
                &case,
                &Inputs::new(&case, Data::Normal(1.0), 2),
                &choice,
            );
        }
    }
}

/// A call without keys, and one whose rows see none: lse is the sink.
#[test]
fn nothing_but_a_sink() {
    let none = Case::new(
        "no keys",
        &Setting::new(12, 10, Element::F32),
        Sizes::two(4, 2, 5, 0),
    )
    .with(|p| p.score.sinks = Some(Values::Host(SINKS.to_vec())));
    let inputs = Inputs::new(&none, Data::Normal(1.0), 2);
    let (plan, output) = run(
        gpu(),
        &gpu().attention,
        &none,
        &inputs,
        &PlanOptions::default(),
    );
    check(&none, &inputs, &output, &plan.to_string());
    let lse = output.forward(&none).lse;
    assert!(
        lse.chunks_exact(5)
            .zip(SINKS.repeat(2))
            .all(|(row, z)| row.iter().all(|x| (*x - f64::from(z)).abs() < 1e-5))
    );
}

/// Partials never contain the sink; the merge adds it, from the host or from a buffer.
#[test]
fn the_merge_adds_them() {
    for (values, output) in [
        (false, Element::F32),
        (true, Element::F32),
        (true, Element::BF16),
    ] {
        let mut whole = case(Element::F32);
        if values {
            whole.problem.score.sinks = Some(Values::Device);
            whole.values.sinks = Some(SINKS.to_vec());
        }
        let inputs = Inputs::new(&whole, Data::Normal(1.0), 2);
        let (mut o, mut lse) = (Vec::new(), Vec::new());
        for k in [0..17, 17..20, 20..45] {
            let part = whole
                .clone()
                .with(|p| p.slice = Some(Slice { q: 0..19, k }));
            let (plan, out) = run(
                gpu(),
                &gpu().attention,
                &part,
                &inputs,
                &PlanOptions::default(),
            );
            check(&part, &inputs, &out, &plan.to_string());
            o.extend(out.o);
            lse.extend(out.lse);
        }
        let merged = merge(&whole, output, &o, &lse);
        let stored = whole.with(|p| p.o.element = output);
        check(&stored, &inputs, &merged, &format!("merged to {output}"));
    }
}

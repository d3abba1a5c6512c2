//! Each feature by the planner's own choices, as an application meets it, forward and backward.

use wgpu_attention::problem::Values;
use wgpu_attention::{Element, PlanOptions};

use super::Experiment;
use crate::run;
use crate::support::backward::Given;
use crate::support::cases::{self, Case, Distance, RotaryCase, Setting};
use crate::support::inputs::Data;
use crate::support::rounding;

/// Of the table's cases every so manieth, others in each setting.
const FORWARD: usize = 9;
const BACKWARD: usize = 23;

fn settings() -> Vec<(&'static str, Setting)> {
    let base = Setting::new;
    let rotation = |layout, temperature| {
        Some(RotaryCase {
            layout,
            temperature,
        })
    };
    use wgpu_attention::problem::position::RotaryLayout::{Half, Interleaved};
    vec![
        ("plain", base(64, 64, Element::F32)),
        ("f16", base(40, 24, Element::F16)),
        ("bf16", base(33, 17, Element::BF16)),
        (
            "softcap and bias",
            Setting {
                softcap: Some(3.0),
                bias: true,
                ..base(33, 17, Element::F32)
            },
        ),
        (
            "ALiBi by position",
            Setting {
                distance: Some(Distance::Alibi),
                positions: true,
                ..base(16, 24, Element::F16)
            },
        ),
        (
            "T5 and bias",
            Setting {
                distance: Some(Distance::T5),
                bias: true,
                ..base(8, 4, Element::BF16)
            },
        ),
        (
            "a bias of f16",
            Setting {
                bias: true,
                bias_element: Element::F16,
                ..base(12, 8, Element::F32)
            },
        ),
        (
            "a bias before softcap",
            Setting {
                softcap: Some(3.0),
                bias: true,
                bias_first: true,
                ..base(12, 8, Element::F32)
            },
        ),
        (
            "a boolean mask",
            Setting {
                dense_mask: true,
                ..base(16, 8, Element::F32)
            },
        ),
        (
            "a tree, and the largest scores",
            Setting {
                tree: true,
                max_score: true,
                ..base(16, 8, Element::F32)
            },
        ),
        (
            "RoPE",
            Setting {
                rotation: rotation(Half, false),
                ..base(32, 16, Element::F32)
            },
        ),
        (
            "RoPE interleaved, with temperature",
            Setting {
                rotation: rotation(Interleaved, true),
                ..base(16, 8, Element::F16)
            },
        ),
    ]
}

pub fn experiments() -> Vec<Experiment> {
    let forward = part(FORWARD).map(|(setting, n, case)| of_forward(setting, n, case));
    let backward = part(BACKWARD).map(|(setting, n, case)| of_backward(setting, n, case));
    let rounding = [Element::F16, Element::BF16].map(of_rounding);
    rounding
        .into_iter()
        .chain(forward)
        .chain(backward)
        .collect()
}

/// Every so manieth case of each setting, with its number in the table.
fn part(every: usize) -> impl Iterator<Item = (&'static str, usize, Case)> {
    let numbered = settings().into_iter().enumerate();
    numbered.flat_map(move |(number, (name, setting))| {
        let cases = cases::all(&setting).into_iter().enumerate();
        let chosen = cases.filter(move |(n, _)| n % every == number % every);
        chosen.map(move |(n, case)| (name, n, case))
    })
}

/// Outputs of 16 bits, to the bit.
fn of_rounding(element: Element) -> Experiment {
    Experiment::new(
        "features, forward",
        format!("o rounds to {element}"),
        move |gpu| async move {
            let (case, inputs) = rounding::case(element);
            let (plan, output, _) = run::run(&gpu, &case, &inputs, &PlanOptions::default()).await?;
            let verdict = rounding::check(&case, &inputs, &output.o);
            verdict
                .map(|()| Vec::new())
                .map_err(|e| format!("{e}\n{plan}"))
        },
    )
}

/// Every third case is split over the keys, another third cut into slices of rows.
fn of_forward(setting: &str, n: usize, case: Case) -> Experiment {
    let choice = PlanOptions::default()
        .with_splits((n % 3 == 1).then_some(3))
        .with_slice_rows((n % 3 == 2).then_some(7));
    let name = format!("{setting}, {}", case.name);
    let case = (case, Data::Normal(1.0), n as u64);
    Experiment::forward("features, forward", name, case, choice)
}

fn of_backward(setting: &str, n: usize, case: Case) -> Experiment {
    let given = move |case: &Case| Given {
        score: true,
        ..Given::new(case, n as u64)
    };
    let name = format!("{setting}, {}", case.name);
    let case = with_sinks(case);
    Experiment::backward(
        "features, backward",
        name,
        (case, n as u64),
        given,
        PlanOptions::default(),
    )
}

fn with_sinks(case: Case) -> Case {
    case.with(|p| {
        let sinks = (0..p.shape.q_heads).map(|h| 0.5 - 0.2 * h as f32);
        p.score.sinks = Some(Values::Host(sinks.collect()));
    })
}

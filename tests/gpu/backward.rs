//! The gradients against the f64 reference.

mod covering;
mod hidden;
mod mods;
mod properties;
mod rotations;
pub mod run;
mod shared_bias;
mod sparse;

use wgpu_attention::Element;
use wgpu_attention::problem::{Mask, Values};

use crate::device::{gpu, say};
use crate::run::strategies;
use crate::support::cases::{self, Distance, RotaryCase, Setting};
use crate::support::inputs::{Data, Inputs};

use run::{Given, run_and_check};

fn settings() -> Vec<Setting> {
    let base = |d, dv, element| Setting::new(d, dv, element);
    vec![
        base(8, 8, Element::F32),
        Setting {
            softcap: Some(3.0),
            bias: true,
            ..base(33, 17, Element::F32)
        },
        Setting {
            distance: Some(Distance::Alibi),
            positions: true,
            ..base(16, 24, Element::F16)
        },
        Setting {
            distance: Some(Distance::T5),
            bias: true,
            ..base(8, 4, Element::BF16)
        },
        Setting {
            softcap: Some(3.0),
            bias: true,
            bias_first: true,
            ..base(12, 8, Element::F32)
        },
        Setting {
            bias: true,
            bias_element: Element::F16,
            ..base(16, 8, Element::F32)
        },
        Setting {
            bias: true,
            bias_element: Element::BF16,
            ..base(12, 8, Element::BF16)
        },
        Setting {
            dense_mask: true,
            ..base(16, 8, Element::F32)
        },
        Setting {
            tree: true,
            ..base(16, 8, Element::F32)
        },
        Setting {
            rotation: Some(RotaryCase {
                layout: Default::default(),
                temperature: true,
            }),
            ..base(16, 8, Element::F32)
        },
    ]
}

#[test]
fn the_case_table_backward_in_both_strategies() {
    let gpu = gpu();
    let mut count = 0;
    for setting in settings() {
        for (n, case) in cases::all(&setting).iter().enumerate() {
            let inputs = Inputs::new(case, Data::Normal(1.0), n as u64);
            for choice in strategies(gpu) {
                run_and_check(gpu, case, &inputs, &Given::new(case, n as u64), &choice);
                count += 1;
            }
        }
    }
    say(&format!("{count} backward passes"));
}

/// Sinks in every case, and biases that batches, heads or queries share.
#[test]
fn the_scores_own_parameters_in_both_strategies() {
    let gpu = gpu();
    let mut count = 0;
    for setting in settings() {
        for (n, case) in cases::all(&setting).into_iter().enumerate() {
            let case = case.with(|p| {
                let sinks = (0..p.shape.q_heads).map(|h| 0.5 - 0.2 * h as f32).collect();
                p.score.sinks = Some(Values::Host(sinks));
                if let Some(bias) = &mut p.score.bias {
                    bias.head = if n % 2 == 0 { 0 } else { bias.head };
                    bias.batch = if n % 3 == 0 { 0 } else { bias.batch };
                    bias.row = if n % 5 == 0 { 0 } else { bias.row };
                }
            });
            let inputs = Inputs::new(&case, Data::Normal(1.0), n as u64);
            let given = Given {
                score: true,
                ..Given::new(&case, n as u64)
            };
            for choice in strategies(gpu) {
                run_and_check(gpu, &case, &inputs, &given, &choice);
                count += 1;
            }
        }
    }
    say(&format!(
        "{count} backward passes with gradients of the score"
    ));
}

/// Slopes `[B, Hq]` have a gradient of their size, be they the host's or in a buffer.
#[test]
fn slopes_of_each_batch() {
    let slopes: Vec<f32> = (0..8).map(|n| 0.3 - 0.1 * n as f32).collect();
    let sizes = cases::Sizes::two(4, 2, 45, 70);
    let host = cases::Case::new(
        "slopes per batch",
        &Setting::new(12, 8, Element::F32),
        sizes,
    )
    .with(|p| {
        p.mask = Mask::causal();
        p.score.slopes = Some(Values::Host(slopes.clone()));
        p.score.slopes_per_batch = true;
    });
    let mut device = host.clone().with(|p| p.score.slopes = Some(Values::Device));
    device.values.slopes = Some(slopes);
    for case in [host, device] {
        let inputs = Inputs::new(&case, Data::Normal(1.0), 4);
        let given = Given {
            score: true,
            ..Given::new(&case, 4)
        };
        for choice in strategies(gpu()) {
            run_and_check(gpu(), &case, &inputs, &given, &choice);
        }
    }
}

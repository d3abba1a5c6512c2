//! The user's functions against a dense bias that says the same.

use wgpu_attention::problem::{Layout, Mask, ModData, Mods};
use wgpu_attention::{Element, PlanOptions};

use super::Experiment;
use crate::run;
use crate::support::backward::Given;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, DenseBias, Inputs};
use crate::support::tensor::encode;

const HEADS: u32 = 4;
const Q_LEN: u32 = 37;
const KV_LEN: u32 = 53;

/// A text and what it adds to the score of a pair: −∞ hides it.
#[derive(Clone, Copy)]
struct Both {
    name: &'static str,
    text: &'static str,
    adds: fn(u32, u32, u32, u32) -> f64,
}

const BOTH: [Both; 4] = [
    Both {
        name: "mask_mod by batch and head, rows without keys",
        text: "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i + 2u * j + h) % 3u != b && i % 8u != 5u; }",
        adds: |b, h, i, j| hides((i + 2 * j + h) % 3 == b || i % 8 == 5),
    },
    Both {
        name: "mask_mod with data, a loop and a variable",
        text: "fn document(n: u32) -> u32 { var d = 0u; while d < 4u && f32(n) >= mod_data(d) { d++; } return d; }
            fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return document(i) == document(j); }",
        adds: |_, _, i, j| hides(document(i) != document(j)),
    },
    Both {
        name: "score_mod: a soft window",
        text: "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
                let d = f32(i) - f32(j);
                return score + d / (1.0 + abs(d)) - 0.01 * d * d;
            }
            fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }",
        adds: |_, _, i, j| soft(i, j),
    },
    Both {
        name: "score_mod and mask_mod together",
        text: "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
                let d = f32(i) - f32(j);
                return score + d / (1.0 + abs(d)) - 0.01 * d * d;
            }
            fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }
            fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool { return (i * j) % 7u != 6u; }",
        adds: |_, _, i, j| soft(i, j) + hides((i * j) % 7 == 6),
    },
];

const ENDS: [f32; 4] = [9.0, 20.0, 36.0, 60.0];

fn document(n: u32) -> usize {
    ENDS.iter().filter(|&&end| n as f32 >= end).count()
}

fn hides(hidden: bool) -> f64 {
    if hidden { f64::NEG_INFINITY } else { 0.0 }
}

fn soft(i: u32, j: u32) -> f64 {
    let d = f64::from(i) - f64::from(j);
    d / (1.0 + d.abs()) - 0.01 * d * d
}

pub fn experiments() -> Vec<Experiment> {
    let masks = [Mask::default(), Mask::window(9, 3).with_first(5)];
    let mut all = Vec::new();
    for (both, mask) in BOTH
        .iter()
        .flat_map(|both| masks.iter().map(move |mask| (*both, mask)))
    {
        let setting = Setting::new(12, 20, Element::F32);
        let case = Case::new(both.name, &setting, Sizes::two(HEADS, 2, Q_LEN, KV_LEN));
        let case = case.with(|p| p.mask = mask.clone());
        let name = |way| match mask.window {
            Some(_) => format!("{way}, {}, in a window", both.name),
            None => format!("{way}, {}", both.name),
        };
        all.push(experiment(name("forward"), both, case.clone(), false));
        all.push(experiment(name("backward"), both, case, true));
    }
    all
}

fn experiment(name: String, both: Both, own: Case, backward: bool) -> Experiment {
    Experiment::new("mods", name, move |gpu| {
        let own = own.clone();
        async move {
            let mods = Mods::new(both.text).map_err(|e| e.to_string())?;
            let mods = mods.with_data(ModData::Host(ENDS.to_vec()));
            let user = own.clone().with(|p| p.mods = Some(mods));
            let inputs = Inputs::new(&user, Data::Normal(1.0), 1);
            let (own, bias) = dense(own, both.adds);
            let own_inputs = Inputs {
                bias: Some(bias),
                ..inputs.clone()
            };
            let (user, own) = ((&user, &inputs), (&own, &own_inputs));
            if backward {
                let given = Given::new(user.0, 1);
                return run::backward(&gpu, user, own, &given, &PlanOptions::default()).await;
            }
            run::forward(&gpu, user, own, &PlanOptions::default()).await
        }
    })
}

/// The case with a dense bias of `adds`.
fn dense(case: Case, adds: fn(u32, u32, u32, u32) -> f64) -> (Case, DenseBias) {
    let row = |row: u32| (row / Q_LEN / HEADS, row / Q_LEN % HEADS, row % Q_LEN);
    let of_row = |(b, h, i)| (0..KV_LEN).map(move |j| f64::from(adds(b, h, i, j) as f32));
    let values: Vec<f64> = (0..2 * HEADS * Q_LEN).map(row).flat_map(of_row).collect();
    let buffer = encode(Element::F32, &values);
    let layout = Layout::heads_first(HEADS, Q_LEN, KV_LEN);
    (
        case.with(|p| p.score.bias = Some(layout)),
        DenseBias { values, buffer },
    )
}

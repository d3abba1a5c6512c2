//! Functions of the user's, and the dense bias that stands for them.

use wgpu_attention::problem::{Blocks, Layout, Mods};

use crate::support::cases::Case;
use crate::support::drawn::Draw;
use crate::support::inputs::{DenseBias, Inputs};
use crate::support::tensor::encode;
use wgpu_attention::Element;

type Term = fn(u32, u32, u32, u32) -> f64;

const MASK: &str = "fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {
    return (i * 5u + j * 3u + h + b) % 7u != 2u;
}";
const SCORE: &str = "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    return score + 0.125 * f32((i + 2u * j + h) % 5u) - 0.25;
}
fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 1.0; }";

fn hides(b: u32, h: u32, i: u32, j: u32) -> f64 {
    match (i * 5 + j * 3 + h + b) % 7 {
        2 => f64::NEG_INFINITY,
        _ => 0.0,
    }
}

fn adds(_: u32, h: u32, i: u32, j: u32) -> f64 {
    0.125 * f64::from((i + 2 * j + h) % 5) - 0.25
}

/// The case with functions, or without; and its own stand-in.
pub fn draw(draw: &mut Draw, case: Case, own: Case, inputs: &Inputs) -> (Case, Case, Inputs) {
    // A block that lists on the device name as full is not asked about: they must be those of the function.
    let listed = matches!(case.problem.mask.blocks, Some(Blocks::Device(_)));
    let (text, term): (String, Term) = match draw.size(0, 11) {
        // The stand-in is added after the softcap.
        0..=2 if case.problem.score.bias_before_softcap => return (case, own, inputs.clone()),
        0 | 2 if listed => return (case, own, inputs.clone()),
        0 => (MASK.into(), hides),
        1 => (SCORE.into(), adds),
        2 => (format!("{MASK}\n{SCORE}"), |b, h, i, j| {
            hides(b, h, i, j) + adds(b, h, i, j)
        }),
        _ => return (case, own, inputs.clone()),
    };
    let mods = Mods::new(&text).expect("a sound text");
    let own_inputs = with_term(&own, inputs, term);
    let s = own.problem.shape;
    let bias = Layout::heads_first(s.q_heads, s.q_len, s.kv_len);
    (
        case.with(|p| p.mods = Some(mods)),
        own.with(|p| (p.score.bias, p.score.bias_element) = (Some(bias), Element::F32)),
        own_inputs,
    )
}

/// The inputs with `term` in their bias, beside what is there.
fn with_term(case: &Case, inputs: &Inputs, term: Term) -> Inputs {
    let s = &case.problem.shape;
    let mut values = Vec::new();
    for row in 0..s.rows() as u32 {
        let (b, h, i) = (
            row / s.q_len / s.q_heads,
            row / s.q_len % s.q_heads,
            row % s.q_len,
        );
        values.extend((0..s.kv_len).map(|j| term(b, h, i, j)));
    }
    if let Some(bias) = &inputs.bias {
        values
            .iter_mut()
            .zip(&bias.values)
            .for_each(|(x, y)| *x += y);
    }
    let mut inputs = inputs.clone();
    let buffer = encode(Element::F32, &values);
    inputs.bias = Some(DenseBias { values, buffer });
    inputs
}

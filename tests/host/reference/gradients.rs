//! The backward pass against central differences of the forward pass.

use wgpu_attention::problem::position::RotaryLayout;
use wgpu_attention::problem::{Element, Lengths, Mask, Problem, Score, Shape, Values};
use wgpu_attention::reference::{
    Bias, ScoreGradients, Tensors, backward, forward, score_gradients,
};

use super::{assert_near, problem};
use crate::support::cases::{self, Case, Distance, RotaryCase, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::normal;

const STEP: f64 = 1e-5;

/// `Σ do·o + Σ dlse·lse` over the live rows.
fn loss(problem: &Problem, tensors: &Tensors, d_o: &[f64], dlse: &[f64]) -> f64 {
    let out = forward(problem, tensors);
    let live = |(&lse, &d): (&f64, &f64)| if lse.is_finite() { d * lse } else { 0.0 };
    let o: f64 = out.o.iter().zip(d_o).map(|(x, d)| x * d).sum();
    o + out.lse.iter().zip(dlse).map(live).sum::<f64>()
}

fn moved(values: &[f64], direction: &[f64], step: f64) -> Vec<f64> {
    let pairs = values.iter().zip(direction);
    pairs.map(|(x, u)| x + step * u).collect()
}

/// The gradient along a random direction, of each of q, k and v.
fn check_directions(case: &Case, seed: u64) {
    let (p, inputs) = (&case.problem, Inputs::new(case, Data::Normal(1.0), seed));
    let rows = p.shape.rows() as usize;
    let d_o = normal(seed, rows * p.shape.value_dim as usize);
    let dlse = normal(seed + 1, rows);
    let grad = backward(p, &inputs.tensors(case), &d_o, Some(&dlse));
    let x = [&inputs.q, &inputs.k, &inputs.v];
    for (n, grad) in [&grad.dq, &grad.dk, &grad.dv].into_iter().enumerate() {
        let u = normal(seed + 2, grad.len());
        let at = |step: f64| {
            let mut y = x.map(Clone::clone);
            y[n] = moved(x[n], &u, step);
            let tensors = inputs
                .tensors(case)
                .with_q(&y[0])
                .with_k(&y[1])
                .with_v(&y[2]);
            loss(p, &tensors, &d_o, &dlse)
        };
        let want = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let got: f64 = grad.iter().zip(&u).map(|(g, u)| g * u).sum();
        let size = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(
            (got - want).abs() <= 1e-6 * (1.0 + size),
            "{}, operand {n}: {got} instead of {want}",
            case.name
        );
    }
}

#[test]
fn every_case_agrees_with_differences() {
    for softcap in [None, Some(1.5)] {
        let setting = Setting {
            softcap,
            ..Setting::new(5, 3, Element::F32)
        };
        for (n, mut case) in cases::all(&setting).into_iter().enumerate() {
            // The gradients of a slice are a part of the whole problem's, which has no loss of its own.
            case.problem.slice = None;
            check_directions(&case, 10 * n as u64);
        }
    }
}

/// With everything that a score may have: rotated q and k, a temperature, distances, a dense bias, sinks.
#[test]
fn every_part_of_a_score_agrees_with_differences() {
    let rotation = |temperature| {
        Some(RotaryCase {
            layout: RotaryLayout::Half,
            temperature,
        })
    };
    for setting in [
        Setting {
            bias: true,
            distance: Some(Distance::Alibi),
            rotation: rotation(false),
            ..Setting::new(8, 3, Element::F32)
        },
        Setting {
            softcap: Some(1.5),
            distance: Some(Distance::T5),
            rotation: rotation(true),
            positions: true,
            ..Setting::new(8, 3, Element::F32)
        },
    ] {
        for (n, mut case) in cases::all(&setting).into_iter().enumerate() {
            let heads = case.problem.shape.q_heads;
            case.problem.slice = None;
            let sinks = (0..heads).map(|h| 0.5 - h as f32 / 4.0).collect();
            case.problem.score.sinks = Some(Values::Host(sinks));
            check_directions(&case, 10 * n as u64);
        }
    }
}

/// The numbers `of` a score, which differences move one by one, against their gradient.
fn check_numbers(
    case: &Case,
    what: &str,
    numbers: Vec<f32>,
    grad: fn(ScoreGradients) -> Vec<f64>,
    set: fn(&mut Score, Vec<f32>),
) {
    let (p, inputs) = (&case.problem, Inputs::new(case, Data::Normal(1.0), 7));
    let rows = p.shape.rows() as usize;
    let d_o = normal(8, rows * p.shape.value_dim as usize);
    let dlse = normal(9, rows);
    let got = grad(score_gradients(p, &inputs.tensors(case), &d_o, Some(&dlse)));
    assert_eq!(got.len(), numbers.len(), "{what}");
    // The numbers are f32: a step that these hold exactly.
    let step = 1.0 / 512.0;
    for (n, &got) in got.iter().enumerate() {
        let at = |step: f32| {
            let mut problem = p.clone();
            let mut moved = numbers.clone();
            moved[n] += step;
            set(&mut problem.score, moved);
            loss(&problem, &inputs.tensors(case), &d_o, &dlse)
        };
        let want = (at(step) - at(-step)) / f64::from(2.0 * step);
        assert!(
            (got - want).abs() <= 1e-3 * (1.0 + got.abs()),
            "{what} [{n}]: {got} instead of {want}"
        );
    }
}

#[test]
fn the_scores_own_numbers_agree_with_differences() {
    let of = |distance| {
        let setting = Setting {
            distance: Some(distance),
            ..Setting::new(8, 3, Element::F32)
        };
        Case::new("numbers", &setting, Sizes::two(4, 2, 9, 13)).with(|p| {
            p.mask = Mask::causal();
            p.score.sinks = Some(Values::Host(vec![0.5, -0.25, 1.0, 0.0]));
        })
    };
    let slopes = vec![0.5, 0.25, 0.125, 1.0];
    let mut alibi = of(Distance::Alibi);
    alibi.problem.score.slopes = Some(Values::Host(slopes.clone()));
    let set = |score: &mut Score, x| score.slopes = Some(Values::Host(x));
    check_numbers(&alibi, "slopes", slopes, |g| g.dslopes, set);
    let mut per_batch = alibi.clone();
    per_batch.problem.score.slopes_per_batch = true;
    let slopes: Vec<f32> = (0..8).map(|n| 0.5 - 0.125 * n as f32).collect();
    per_batch.problem.score.slopes = Some(Values::Host(slopes.clone()));
    check_numbers(&per_batch, "slopes per batch", slopes, |g| g.dslopes, set);
    let sinks = vec![0.5, -0.25, 1.0, 0.0];
    let set = |score: &mut Score, x| score.sinks = Some(Values::Host(x));
    check_numbers(&alibi, "sinks", sinks, |g| g.dsinks, set);
    let mut t5 = of(Distance::T5);
    let buckets = t5
        .problem
        .score
        .t5
        .as_ref()
        .expect("a table")
        .buckets
        .buckets;
    let table: Vec<f32> = (0..4 * buckets).map(|n| (n % 7) as f32 / 8.0).collect();
    let set = |score: &mut Score, x| {
        if let Some(t5) = &mut score.t5 {
            t5.table = Values::Host(x);
        }
    };
    set(&mut t5.problem.score, table.clone());
    check_numbers(&t5, "T5", table, |g| g.dt5, set);
}

#[test]
fn a_dense_bias_agrees_with_differences() {
    let after = Setting {
        softcap: Some(2.0),
        bias: true,
        ..Setting::new(8, 3, Element::F32)
    };
    bias_agrees_with_differences(after);
    bias_agrees_with_differences(Setting {
        bias_first: true,
        ..after
    });
}

fn bias_agrees_with_differences(setting: Setting) {
    let case =
        Case::new("bias", &setting, Sizes::two(2, 1, 5, 7)).with(|p| p.mask = Mask::causal());
    let (p, inputs) = (&case.problem, Inputs::new(&case, Data::Normal(1.0), 7));
    let rows = p.shape.rows() as usize;
    let (d_o, dlse) = (normal(8, rows * 3), normal(9, rows));
    let tensors = inputs.tensors(&case);
    let got = score_gradients(p, &tensors, &d_o, Some(&dlse)).dbias;
    let bias = tensors.bias.expect("a bias");
    for (n, &got) in got.iter().enumerate() {
        // −∞ cannot be moved, and NaN stands behind the mask.
        if !bias.values[n].is_finite() {
            assert_eq!(got, 0.0, "[{n}]");
            continue;
        }
        let at = |step: f64| {
            let mut values = bias.values.to_vec();
            values[n] += step;
            let tensors =
                tensors.with_bias(Bias::new(&values, [bias.batch, bias.heads, bias.rows]));
            loss(p, &tensors, &d_o, &dlse)
        };
        assert_near(got, (at(STEP) - at(-STEP)) / (2.0 * STEP), 1e-8);
    }
}

#[test]
fn every_element_agrees_with_differences() {
    let mut p = Problem::new(
        Shape {
            kv_heads: 1,
            kv_len: 4,
            value_dim: 3,
            ..Shape::square(1, 2, 3, 2)
        },
        Element::F32,
    );
    p.mask = Mask::causal();
    p.score.softcap = Some(2.0);
    let x = [normal(1, 12), normal(2, 8), normal(3, 12)];
    let (d_o, dlse) = (normal(4, 18), normal(5, 6));
    let tensors = Tensors::new(&x[0], &x[1], &x[2]);
    let grad = backward(&p, &tensors, &d_o, Some(&dlse));
    for (n, grad) in [&grad.dq, &grad.dk, &grad.dv].into_iter().enumerate() {
        for (element, &got) in grad.iter().enumerate() {
            let at = |step: f64| {
                let mut y = x.clone();
                y[n][element] += step;
                loss(&p, &Tensors::new(&y[0], &y[1], &y[2]), &d_o, &dlse)
            };
            assert_near(got, (at(STEP) - at(-STEP)) / (2.0 * STEP), 1e-8);
        }
    }
}

#[test]
fn without_dlse_it_counts_as_zero() {
    let p = problem(2, 3, 2, 2);
    let (q, k, v, d_o) = (normal(1, 4), normal(2, 6), normal(3, 6), normal(4, 4));
    let tensors = Tensors::new(&q, &k, &v);
    let zero = backward(&p, &tensors, &d_o, Some(&[0.0; 2]));
    assert_eq!(backward(&p, &tensors, &d_o, None), zero);
}

#[test]
fn dlse_alone_gives_the_gradient_of_a_log_sum() {
    let p = problem(1, 2, 1, 1);
    let tensors = Tensors::new(&[2.0], &[0.3, -0.4], &[7.0, 9.0]);
    let grad = backward(&p, &tensors, &[0.0], Some(&[1.0]));
    let weight = 1.0 / (1.0 + (-1.4f64).exp());
    assert_near(grad.dq[0], weight * 0.3 - (1.0 - weight) * 0.4, 1e-14);
    assert_near(grad.dk[0], 2.0 * weight, 1e-14);
    assert_eq!(grad.dv, [0.0, 0.0]);
}

#[test]
fn fully_masked_rows_and_hidden_keys_have_no_gradient() {
    let mut p = problem(4, 3, 1, 1);
    p.mask = Mask::causal().with_kv_lens(Lengths::Host(vec![2]));
    let k = [0.5, 1.0, f64::NAN];
    let d_o = [f64::NAN, 1.0, 1.0, 1.0];
    let tensors = Tensors::new(&[1.0; 4], &k, &k);
    let grad = backward(&p, &tensors, &d_o, Some(&[f64::NAN, 0.0, 0.0, 0.0]));
    assert_eq!(grad.dq[0], 0.0);
    assert_eq!((grad.dk[2], grad.dv[2]), (0.0, 0.0));
    let all = [grad.dq, grad.dk, grad.dv].concat();
    assert!(all.iter().all(|x| x.is_finite()));
}

#[test]
fn gradients_are_linear_in_what_is_given() {
    let p = problem(3, 5, 2, 4);
    let (q, k, v) = (normal(1, 6), normal(2, 10), normal(3, 20));
    let tensors = Tensors::new(&q, &k, &v);
    let d_o = normal(4, 12);
    let twice: Vec<f64> = d_o.iter().map(|x| 2.0 * x).collect();
    let (one, two) = (
        backward(&p, &tensors, &d_o, None),
        backward(&p, &tensors, &twice, None),
    );
    for (a, b) in one.dk.iter().zip(&two.dk) {
        assert_near(2.0 * a, *b, 1e-13);
    }
}

//! The gradients of the score's own parameters beneath a user's function: dS by the modified score, times the
//! function's derivative at the score that it was given.

use wgpu_attention::Element;
use wgpu_attention::problem::{
    Layout, Lengths, Mask, Mods, Offsets, T5, T5Bias, Values, alibi_slopes,
};
use wgpu_attention::reference::ScoreGradients;

use super::run::{Given, run_as};
use crate::device::gpu;
use crate::run::strategies;
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::assert_gradients;
use crate::support::inputs::{Data, DenseBias, Inputs};
use crate::support::parameters::Expected;
use crate::support::tensor::encode;

const HEADS: u32 = 4;
const Q_LEN: u32 = 37;
const KV_LEN: u32 = 53;

/// Bends scores far from 0, each head's in its own way.
const BEND: &str = "
fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    return (1.0 + 0.25 * f32(h)) * score / (1.0 + abs(score) / 4.0);
}
fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {
    let x = 1.0 + abs(score) / 4.0;
    return (1.0 + 0.25 * f32(h)) / (x * x);
}";

fn bend(score: f64, h: usize) -> f64 {
    (1.0 + 0.25 * h as f64) * score / (1.0 + score.abs() / 4.0)
}

fn bend_grad(score: f64, h: usize) -> f64 {
    (1.0 + 0.25 * h as f64) / (1.0 + score.abs() / 4.0).powi(2)
}

/// Every parameter that has a gradient, and the function after them.
fn user(mask: Mask) -> Case {
    let setting = Setting::new(12, 20, Element::F32);
    let sizes = Sizes::two(HEADS, 2, Q_LEN, KV_LEN);
    Case::new(format!("{mask:?}"), &setting, sizes).with(|p| {
        p.mask = mask;
        p.mods = Some(Mods::new(BEND).expect("a sound text"));
        let score = &mut p.score;
        score.bias = Some(Layout {
            batch: 0,
            ..Layout::heads_first(HEADS, Q_LEN, KV_LEN)
        });
        score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
        score.sinks = Some(Values::Host(vec![0.5, -0.3, 1.0, 0.0]));
        score.t5 = Some(t5());
    })
}

fn t5() -> T5Bias {
    T5Bias::new(
        T5::both().with_buckets(8).with_distance(20),
        Values::Host((0..8 * HEADS).map(|n| (n % 7) as f32 / 4.0 - 0.8).collect()),
    )
}

/// One pair, its score before the user's function, and where its parameters lie.
struct Pair {
    at: usize,
    h: usize,
    product: f64,
    score: f64,
    distance: f64,
    bucket: usize,
}

fn pairs(case: &Case, inputs: &Inputs) -> Vec<Pair> {
    let (p, buckets) = (&case.problem, t5().buckets);
    let (Some(Values::Host(slopes)), Values::Host(table)) = (&p.score.slopes, t5().table) else {
        panic!("the host's parameters");
    };
    let bias = &inputs.bias.as_ref().expect("a bias").values;
    let thresholds = buckets.thresholds().expect("sound buckets");
    let dim = p.shape.head_dim as usize;
    let of_row = |row: u32| {
        let (b, h, i) = (row / Q_LEN / HEADS, row / Q_LEN % HEADS, row % Q_LEN);
        let offset = match &p.mask.q_offset {
            Offsets::Host(offsets) => i64::from(offsets[b as usize]),
            _ => i64::from(KV_LEN) - i64::from(Q_LEN),
        };
        (0..KV_LEN).map(move |j| (row, b, h, j, i64::from(j) - offset - i64::from(i)))
    };
    (0..2 * HEADS * Q_LEN)
        .flat_map(of_row)
        .map(|(row, b, h, j, relative)| {
            let key = (b * 2 + h / p.shape.group()) * KV_LEN + j;
            let q = &inputs.q[row as usize * dim..][..dim];
            let k = &inputs.k[key as usize * dim..][..dim];
            let product = q.iter().zip(k).map(|(x, y)| x * y).sum::<f64>() / (dim as f64).sqrt();
            let (at, h) = ((row * KV_LEN + j) as usize, h as usize);
            let distance = relative.abs() as f64;
            let bucket = buckets.bucket(relative, &thresholds) as usize * HEADS as usize + h;
            Pair {
                at,
                h,
                product,
                score: product + bias[at] - f64::from(slopes[h]) * distance
                    + f64::from(table[bucket]),
                distance,
                bucket,
            }
        })
        .collect()
}

/// The case that stands for the same function: whatever the user's makes of a score, by a dense bias.
fn own(user: &Case, inputs: &Inputs, pairs: &[Pair]) -> (Case, Inputs) {
    let case = user.clone().with(|p| {
        p.mods = None;
        p.score.bias = Some(Layout::heads_first(HEADS, Q_LEN, KV_LEN));
        (p.score.slopes, p.score.t5) = (None, None);
    });
    let values = pairs
        .iter()
        .map(|pair| match pair.score == f64::NEG_INFINITY {
            true => f64::NEG_INFINITY,
            false => bend(pair.score, pair.h) - pair.product,
        })
        .collect();
    let bias = Some(DenseBias {
        values,
        buffer: Vec::new(),
    });
    let inputs = Inputs {
        bias,
        ..inputs.clone()
    };
    (case, inputs)
}

/// From dS by the modified score of each pair to the gradients of what lies beneath; of `terms`, nothing cancels.
fn beneath(modified: &ScoreGradients, pairs: &[Pair], terms: bool) -> ScoreGradients {
    let mut out = ScoreGradients::default()
        .with_dbias(vec![0.0; pairs.len()])
        .with_dslopes(vec![0.0; HEADS as usize])
        .with_dsinks(modified.dsinks.clone())
        .with_dt5(vec![0.0; 8 * HEADS as usize]);
    let sign = if terms { 1.0 } else { -1.0 };
    for pair in pairs.iter().filter(|pair| modified.dbias[pair.at] != 0.0) {
        let ds = modified.dbias[pair.at] * bend_grad(pair.score, pair.h);
        out.dbias[pair.at] = ds;
        out.dslopes[pair.h] += sign * ds * pair.distance;
        out.dt5[pair.bucket] += ds;
    }
    out
}

#[test]
fn parameters_beneath_a_users_function() {
    let ragged = Mask::default()
        .with_causal(true)
        .with_kv_lens(Lengths::Host(vec![53, 21]))
        .with_q_offset(Offsets::Host(vec![16, -4]));
    for (n, mask) in [Mask::default(), Mask::window(9, 3), ragged]
        .into_iter()
        .enumerate()
    {
        let user = user(mask);
        let inputs = Inputs::new(&user, Data::Normal(1.0), n as u64);
        let pairs = pairs(&user, &inputs);
        let (own, own_inputs) = own(&user, &inputs, &pairs);
        let given = Given {
            score: true,
            ..Given::new(&user, n as u64)
        };
        let mut expected = Expected::of(&own, &own_inputs, &given);
        expected.want = beneath(&expected.want, &pairs, false);
        expected.plain.value = beneath(&expected.plain.value, &pairs, false);
        expected.plain.terms = beneath(&expected.plain.terms, &pairs, true);
        for choice in strategies(gpu()) {
            let (plan, _, output) = run_as(
                gpu(),
                &gpu().attention,
                (&user, &inputs),
                (&own, &own_inputs),
                &given,
                &choice,
            );
            assert_eq!(output.score.len(), 4);
            expected.assert(&user, &output.score, &plan.to_string());
        }
    }
}

/// A constant that every score gains moves lse and no gradient; it may cost what f32 costs a plain program, and no more.
#[test]
fn gradients_keep_their_digits_where_lse_is_large() {
    for constant in [0.0, 10.0, 30.0, -30.0, 100.0] {
        let setting = Setting::new(64, 64, Element::F32);
        let own = Case::new(format!("{constant} more"), &setting, Sizes::one(96, 128)).with(|p| {
            p.score.bias = Some(Layout::heads_first(1, 96, 128));
        });
        let user = own.clone().with(|p| {
            p.score.bias = None;
            p.mods = Some(Mods::new(&plus(constant)).expect("a sound text"));
        });
        let inputs = Inputs::new(&user, Data::Normal(1.0), 5);
        let own_inputs = Inputs {
            bias: Some(DenseBias {
                values: vec![constant; 96 * 128],
                buffer: encode(Element::F32, &vec![constant; 96 * 128]),
            }),
            ..inputs.clone()
        };
        let given = Given::new(&own, 0);
        for choice in strategies(gpu()) {
            for (case, inputs) in [(&user, &inputs), (&own, &own_inputs)] {
                let (plan, backward, output) = run_as(
                    gpu(),
                    &gpu().attention,
                    (case, inputs),
                    (&own, &own_inputs),
                    &given,
                    &choice,
                );
                assert_gradients(
                    &own,
                    &own_inputs.tensors(&own),
                    (&given.d_o, given.dlse.as_deref()),
                    (&output.gradients(&backward), Element::F32),
                    &format!("{}\n{plan}", own.name),
                );
            }
        }
    }
}

fn plus(constant: f64) -> String {
    format!(
        "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {{ return score + ({constant:?}); }}
fn score_mod_grad(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {{ return 1.0; }}"
    )
}

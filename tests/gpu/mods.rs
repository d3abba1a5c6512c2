//! The user's functions: what stands for a built-in part gives its answer, forward and backward.

use wgpu_attention::Role;
use wgpu_attention::problem::{
    Layout, Lengths, Mask, ModData, Mods, Offsets, Segments, Values, alibi_slopes,
};
use wgpu_attention::{Attention, Backward, Element, Error, PlanOptions};

use crate::backward::run::{Given, run_as};
use crate::device::gpu;
use crate::run::{Buffers, execute, run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::compare::{assert_forward, assert_gradients};
use crate::support::inputs::{Data, DenseBias, Inputs};
use crate::support::tensor::encode;

const HEADS: u32 = 4;
const Q_LEN: u32 = 37;
const KV_LEN: u32 = 53;

fn case(name: &str) -> Case {
    let setting = Setting::new(12, 20, Element::F32);
    Case::new(name, &setting, Sizes::two(HEADS, 2, Q_LEN, KV_LEN))
}

fn mods(wgsl: &str) -> Mods {
    Mods::new(wgsl).unwrap_or_else(|e| panic!("{e}\n{wgsl}"))
}

fn mask_mod(body: &str) -> String {
    format!("fn mask_mod(b: u32, h: u32, i: u32, j: u32) -> bool {{ {body} }}")
}

/// `score_mod` and its derivative.
fn score_mod(body: &str, derivative: &str) -> String {
    let score = |name, body| {
        format!("fn {name}(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 {{ {body} }}")
    };
    format!(
        "{}\n{}",
        score("score_mod", body),
        score("score_mod_grad", derivative)
    )
}

/// Every mask that is an interval, besides which mods stand.
fn masks() -> Vec<Mask> {
    let window = Mask::window(9, 3).with_first(5);
    let ragged = Mask::default()
        .with_causal(true)
        .with_kv_lens(Lengths::Host(vec![53, 21]))
        .with_q_offset(Offsets::Host(vec![16, -4]));
    vec![Mask::default(), Mask::causal(), window, ragged]
}

/// Holds `mods` against the same case with a part of the library's own in their place, under every mask, in both
/// strategies, whole and split.
fn equals(name: &str, mods: &Mods, part: impl Fn(&mut Case) -> Option<DenseBias>) {
    for (n, mask) in masks().into_iter().enumerate() {
        let with_mask = case(&format!("{name}, {mask:?}")).with(|p| p.mask = mask);
        let user = with_mask.clone().with(|p| p.mods = Some(mods.clone()));
        let mut own = with_mask;
        let bias = part(&mut own);
        let inputs = Inputs::new(&user, Data::Normal(1.0), n as u64);
        let own_inputs = Inputs {
            bias,
            ..inputs.clone()
        };
        for choice in strategies(gpu()) {
            for splits in [1, 3] {
                let choice = choice.clone().with_splits(splits);
                let (plan, output) = run(gpu(), &gpu().attention, &user, &inputs, &choice);
                let (got, tensors) = (output.forward(&user), own_inputs.tensors(&own));
                assert_forward(
                    &own.problem,
                    &tensors,
                    &got,
                    &format!("{}\n{plan}", user.name),
                );
            }
            backward((&user, &inputs), (&own, &own_inputs), &choice, n as u64);
        }
    }
}

fn backward(user: (&Case, &Inputs), own: (&Case, &Inputs), choice: &PlanOptions, seed: u64) {
    let given = Given::new(user.0, seed);
    let (plan, pass, output) = run_as(gpu(), &gpu().attention, user, own, &given, choice);
    let got = output.gradients(&pass);
    let (tensors, d_o) = (
        own.1.tensors(own.0),
        (&given.d_o[..], given.dlse.as_deref()),
    );
    let context = format!("{}\n{plan}", user.0.name);
    assert_gradients(own.0, &tensors, d_o, (&got, given.element), &context);
}

/// The bias of `(b, h, i, j)` for every pair, made the case's own.
fn dense(case: &mut Case, of: impl Fn(u32, u32, u32, u32) -> f64) -> Option<DenseBias> {
    case.problem.score.bias = Some(Layout::heads_first(HEADS, Q_LEN, KV_LEN));
    let mut values = Vec::new();
    for row in 0..2 * HEADS * Q_LEN {
        let (b, h, i) = (row / Q_LEN / HEADS, row / Q_LEN % HEADS, row % Q_LEN);
        values.extend((0..KV_LEN).map(|j| f64::from(of(b, h, i, j) as f32)));
    }
    let buffer = encode(Element::F32, &values);
    Some(DenseBias { values, buffer })
}

fn hides(hidden: bool) -> f64 {
    if hidden { f64::NEG_INFINITY } else { 0.0 }
}

#[test]
fn documents_by_data() {
    let ends = [9.0, 20.0, 36.0, 60.0];
    let text = format!(
        "const LOG2_E = 4u; struct Place {{ row: u32 }}
         fn row_start(n: u32) -> u32 {{ var d = 0u; while d < LOG2_E && f32(n) >= mod_data(d) {{ d++; }} return d; }}
         fn main(p: Place) -> u32 {{ return row_start(p.row); }}\n{}",
        mask_mod("return main(Place(i)) == main(Place(j));")
    );
    let data = ModData::Host(ends.map(|x| x as f32).to_vec());
    let document = |n: u32| ends.iter().filter(|&&end| f64::from(n) >= end).count();
    let mods = mods(&text).with_data(data);
    equals("documents by a bias", &mods, |case| {
        dense(case, |_, _, i, j| hides(document(i) != document(j)))
    });
    let ids = |len: u32| (0..2 * len).map(|n| document(n % len) as i32).collect();
    equals("documents by ids", &mods, |case| {
        case.problem.mask.segments = Some(Segments::Host {
            q: ids(Q_LEN),
            k: ids(KV_LEN),
        });
        None
    });
}

/// Batch and head tell masks apart; some rows see nothing.
#[test]
fn masks_by_batch_and_head() {
    let text = mask_mod("return (i + 2u * j + h) % 3u != b && i % 8u != 5u;");
    equals("by batch and head", &mods(&text), |case| {
        dense(case, |b, h, i, j| {
            hides((i + 2 * j + h) % 3 == b || i % 8 == 5)
        })
    });
}

#[test]
fn alibi_and_its_offsets() {
    let data = ModData::Host(alibi_slopes(HEADS));
    let text = score_mod(
        "return score - mod_data(h) * abs(f32(query_offset(b) + i32(i) - i32(j)));",
        "return 1.0;",
    );
    equals("alibi", &mods(&text).with_data(data), |case| {
        case.problem.score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
        None
    });
}

/// Arithmetic only: WGSL lets `sin` be off by 2^-11, and one driver is.
#[test]
fn relative_bias_and_soft_window() {
    let text = score_mod(
        "let d = f32(i) - f32(j); return score + d / (1.0 + abs(d)) - 0.01 * d * d;",
        "return 1.0;",
    );
    equals("soft window", &mods(&text), |case| {
        dense(case, |_, _, i, j| {
            let d = f64::from(i) - f64::from(j);
            d / (1.0 + d.abs()) - 0.01 * d * d
        })
    });
}

/// The derivative is not 1 here.
#[test]
fn softcap() {
    let text = score_mod(
        "return 2.0 * tanh(score / 2.0);",
        "let t = tanh(score / 2.0); return 1.0 - t * t;",
    );
    equals("softcap", &mods(&text), |case| {
        case.problem.score.softcap = Some(2.0);
        None
    });
}

/// −∞ from score_mod hides; what it says of masked pairs, NaN included, does not matter.
#[test]
fn infinities() {
    let text = format!(
        "fn bits(x: u32) -> f32 {{ var y = x; return bitcast<f32>(y); }}\n{}\n{}",
        score_mod(
            "if j % 5u == 2u {{ return bits(0x7fc00000u); }} if j % 3u == 1u {{ return bits(0xff800000u); }} return score;",
            "return select(1.0, bits(0x7fc00000u), j % 5u == 2u);"
        )
        .replace("{{", "{")
        .replace("}}", "}"),
        mask_mod("return j % 5u != 2u;")
    );
    equals("infinities", &mods(&text), |case| {
        dense(case, |_, _, _, j| hides(j % 5 == 2 || j % 3 == 1))
    });
}

/// Pairs come with indices of the whole problem, inside of it, whatever part a call computes.
#[test]
fn indices_are_inside_and_of_the_whole() {
    let text = mask_mod(&format!(
        "return i < {Q_LEN}u && j < {KV_LEN}u && b < 2u && h < {HEADS}u && j >= i;"
    ));
    let user = case("slice").with(|p| {
        p.mods = Some(mods(&text));
        p.slice = Some(wgpu_attention::problem::Slice { q: 5..31, k: 7..50 });
    });
    let mut own = user.clone().with(|p| p.mods = None);
    let bias = dense(&mut own, |_, _, i, j| hides(j < i));
    let inputs = Inputs::new(&user, Data::Normal(1.0), 1);
    let own_inputs = Inputs {
        bias,
        ..inputs.clone()
    };
    for choice in strategies(gpu()) {
        let (plan, output) = run(gpu(), &gpu().attention, &user, &inputs, &choice);
        let got = output.forward(&user);
        assert_forward(
            &own.problem,
            &own_inputs.tensors(&own),
            &got,
            &plan.to_string(),
        );
    }
}

/// Loops of the user's, past the iterations that lavapipe grants an invocation: forward and backward are cut before.
#[test]
fn loops_past_the_iteration_cap() {
    const KEYS: u32 = 3000;
    let text = mask_mod(
        "var x = i * 7u + j; for (var n = 0u; n < u32(mod_data(0u)); n++) { x = (x * 5u + 3u) & 0xffffu; } return x % 3u != 0u;",
    );
    let hidden = |i: u32, j: u32| (0..60).fold(i * 7 + j, |x, _| (x * 5 + 3) & 0xffff) % 3 == 0;
    let setting = Setting::new(8, 8, Element::F32);
    let own = Case::new("loops", &setting, Sizes::one(4, KEYS));
    let user = own.clone().with(|p| {
        p.mods = Some(mods(&text).with_data(ModData::Host(vec![60.0])));
    });
    let own = own.with(|p| p.score.bias = Some(Layout::heads_first(1, 4, KEYS)));
    let values: Vec<f64> = (0..4)
        .flat_map(|i| (0..KEYS).map(move |j| hides(hidden(i, j))))
        .collect();
    let buffer = encode(Element::F32, &values);
    let inputs = Inputs::new(&user, Data::Normal(1.0), 5);
    let own_inputs = Inputs {
        bias: Some(DenseBias { values, buffer }),
        ..inputs.clone()
    };
    for choice in strategies(gpu()) {
        let (plan, output) = run(gpu(), &gpu().attention, &user, &inputs, &choice);
        let (got, tensors) = (output.forward(&user), own_inputs.tensors(&own));
        assert_forward(&own.problem, &tensors, &got, &plan.to_string());
        backward((&user, &inputs), (&own, &own_inputs), &choice, 5);
    }
}

#[test]
fn one_text_one_pipeline() {
    let attention = Attention::with_caps(&gpu().device, gpu().attention.caps().clone())
        .expect("caps of the device");
    let warm = |text: &str, data: &[f32]| {
        let mods = mods(text).with_data(ModData::Host(data.to_vec()));
        let problem = case("").with(|p| p.mods = Some(mods)).problem;
        let plan = attention.plan(&problem).expect("a plan");
        pollster::block_on(attention.warm_up(&gpu().queue, &[plan])).expect("compiled");
        attention.compiled_variants()
    };
    let (near, far) = (mask_mod("return i < j;"), mask_mod("return i > j;"));
    let one = warm(&near, &[]);
    assert_eq!(warm(&near.clone(), &[1.0, 2.0]), one);
    assert_eq!(warm(&far, &[]), one + 1);
    assert_eq!(warm(&near, &[]), one + 1);
}

/// Data in the caller's buffer, and indices past its end.
#[test]
fn data_on_the_device() {
    let text = mods(&score_mod("return score + mod_data(j);", "return 1.0;"));
    let numbers: Vec<f32> = (0..40).map(|n| (n as f32 * 0.7).sin()).collect();
    let host = case("").with(|p| {
        p.mods = Some(text.clone().with_data(ModData::Host(numbers.clone())));
    });
    let device = case("").with(|p| p.mods = Some(text.with_data(ModData::Device { len: 40 })));
    let inputs = Inputs::new(&host, Data::Normal(1.0), 3);
    for choice in strategies(gpu()) {
        let (_, want) = run(gpu(), &gpu().attention, &host, &inputs, &choice);
        let plan = gpu()
            .attention
            .plan_with(&device.problem, &choice)
            .expect("a plan");
        let mut buffers = Buffers::new(&gpu().device, &device, &inputs);
        buffers.add(&gpu().device, Role::ModData, bytemuck::cast_slice(&numbers));
        let got = execute(gpu(), &gpu().attention, &plan, &buffers);
        assert!(got == want, "{plan}");
        let mut own = host.clone().with(|p| p.mods = None);
        let bias = dense(&mut own, |_, _, _, j| {
            f64::from(numbers[j.min(39) as usize])
        });
        let own_inputs = Inputs {
            bias,
            ..inputs.clone()
        };
        assert_forward(
            &own.problem,
            &own_inputs.tensors(&own),
            &got.forward(&host),
            "data",
        );
    }
}

#[test]
fn gradients_need_a_derivative() {
    let text =
        "fn score_mod(score: f32, b: u32, h: u32, i: u32, j: u32) -> f32 { return 2.0 * score; }";
    let problem = case("").with(|p| p.mods = Some(mods(text))).problem;
    let error = gpu()
        .attention
        .plan_backward(&Backward::new(problem, Element::F32));
    let error = error.expect_err("no derivative");
    assert_eq!(error, Error::NoScoreGradient);
    assert!(error.to_string().contains("score_mod_grad(score: f32"));
}

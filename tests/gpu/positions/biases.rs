//! What is added to scores: by distance and densely, against the reference and against each other.

use wgpu_attention::Element;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{
    Layout, Lengths, Mask, Offsets, Positions, T5, T5Bias, Values, alibi_slopes,
};

use super::{NEAR, agree, agree_on, everywhere, finite};
use crate::device::gpu;
use crate::run::{run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, DenseBias, Inputs};
use crate::support::tensor::encode;

const HEADS: u32 = 6;
const Q_LEN: u32 = 20;
const KV_LEN: u32 = 37;

fn grouped(name: impl Into<String>) -> Case {
    grouped_of(12, name)
}

fn grouped_of(head_dim: u32, name: impl Into<String>) -> Case {
    let sizes = Sizes::two(HEADS, 3, Q_LEN, KV_LEN);
    Case::new(name, &Setting::new(head_dim, 8, Element::F32), sizes)
}

fn masks() -> [Mask; 3] {
    let lens = Mask::causal()
        .with_kv_lens(Lengths::Host(vec![30, 0]))
        .with_q_offset(Offsets::Host(vec![3, 11]));
    [Mask::default(), Mask::window(6, 3), lens]
}

fn t5(bidirectional: bool, distance: u32) -> T5Bias {
    let table = (0..10 * HEADS).map(|n| (1.3 * n as f32).cos()).collect();
    T5Bias::new(
        T5::causal()
            .with_buckets(10)
            .with_distance(distance)
            .with_bidirectional(bidirectional),
        Values::Host(table),
    )
}

/// `(p_k − p_q, head)` of every pair in the order of a dense bias.
fn dense(case: &Case, of: impl Fn(i64, usize) -> f64) -> DenseBias {
    let s = case.problem.shape;
    let mut values = Vec::new();
    for b in 0..s.batch {
        let offset = case.problem.mask.offset(&s, b).expect("the host's offset");
        for h in 0..s.q_heads as usize {
            for i in 0..s.q_len {
                let from = |j: u32| i64::from(j) - offset - i64::from(i);
                values.extend((0..s.kv_len).map(|j| f64::from(of(from(j), h) as f32)));
            }
        }
    }
    let buffer = encode(Element::F32, &values);
    DenseBias { values, buffer }
}

/// Holds `case` against the same with `bias` in place of its own parts of the score.
fn same_as_dense(case: &Case, bias: DenseBias) {
    let mut densely = case.clone().with(|p| {
        p.score.slopes = None;
        p.score.t5 = None;
        p.score.bias = Some(Layout::heads_first(HEADS, Q_LEN, KV_LEN));
    });
    densely.name += ", dense";
    let inputs = Inputs::new(case, Data::Normal(1.0), 3);
    let with_bias = Inputs {
        bias: Some(bias),
        ..inputs.clone()
    };
    for choice in strategies(gpu()) {
        let answer = |case: &Case, inputs: &Inputs| {
            agree_on(case, inputs, std::slice::from_ref(&choice));
            let (_, output) = run(gpu(), &gpu().attention, case, inputs, &choice);
            output.forward(case)
        };
        let (own, dense) = (answer(case, &inputs), answer(&densely, &with_bias));
        assert!(finite(&own.o, &dense.o) < NEAR && finite(&own.lse, &dense.lse) < NEAR);
    }
}

#[test]
fn alibi_is_a_dense_bias() {
    let slopes = alibi_slopes(HEADS);
    for mask in masks() {
        let case = grouped(format!("alibi {mask:?}")).with(|p| {
            p.mask = mask;
            p.score.slopes = Some(Values::Host(slopes.clone()));
        });
        let bias = dense(&case, |r, h| -f64::from(slopes[h]) * r.abs() as f64);
        same_as_dense(&case, bias);
    }
}

/// `[B, Hq]`, of the host and in a buffer.
#[test]
fn slopes_of_each_batch() {
    let slopes: Vec<f32> = (0..2 * HEADS).map(|n| 0.4 - 0.1 * n as f32).collect();
    for mask in masks() {
        let host = grouped(format!("slopes per batch {mask:?}")).with(|p| {
            p.mask = mask;
            p.score.slopes = Some(Values::Host(slopes.clone()));
            p.score.slopes_per_batch = true;
        });
        agree(&host, &strategies(gpu()));
        let mut device = host.with(|p| p.score.slopes = Some(Values::Device));
        device.values.slopes = Some(slopes.clone());
        agree(&device, &strategies(gpu()));
    }
}

#[test]
fn t5_is_a_dense_bias() {
    for (mask, (both, distance)) in masks()
        .into_iter()
        .zip([(true, 9), (false, 128), (true, 16)])
    {
        let t5 = t5(both, distance);
        let case = grouped(format!("t5 {t5:?} {mask:?}")).with(|p| {
            p.mask = mask;
            p.score.t5 = Some(t5.clone());
        });
        let thresholds = t5.buckets.thresholds().expect("legal buckets");
        let Values::Host(table) = &t5.table else {
            panic!("the table is the host's")
        };
        let bias = dense(&case, |r, h| {
            let bucket = t5.buckets.bucket(r, &thresholds) as usize;
            table[bucket * HEADS as usize + h].into()
        });
        same_as_dense(&case, bias);
    }
}

/// Broadcast over batches or heads, padded rows, and all that hides: some pairs, or whole rows. Kernels that load eight
/// channels at a time (D = 16) load two of the bias.
#[test]
fn dense_biases_of_every_layout() {
    let whole = Layout::heads_first(HEADS, Q_LEN, KV_LEN);
    let layouts = [
        whole,
        Layout { batch: 0, ..whole },
        Layout {
            head: 0,
            ..Layout::heads_first(1, Q_LEN, KV_LEN)
        },
        Layout {
            batch: 0,
            head: 0,
            ..whole
        },
        Layout { row: 0, ..whole },
        Layout::rows_first(HEADS, Q_LEN, KV_LEN + 3).at(77),
    ];
    for (layout, mask) in layouts.into_iter().flat_map(|l| masks().map(|m| (l, m))) {
        for head_dim in [12, 16] {
            let name = format!("D = {head_dim}, {layout:?} {mask:?}");
            let case = grouped_of(head_dim, name).with(|p| {
                p.mask = mask.clone();
                p.score.bias = Some(layout);
            });
            agree(&case, &strategies(gpu()));
        }
    }
}

/// Of 16-bit numbers, whose rows of 37 start in either half of a word.
#[test]
fn dense_biases_of_16_bits() {
    let whole = Layout::heads_first(HEADS, Q_LEN, KV_LEN);
    let layouts = [
        whole,
        Layout { batch: 0, ..whole }.at(1),
        Layout { row: 0, ..whole },
        Layout::rows_first(HEADS, Q_LEN, KV_LEN + 3).at(77),
    ];
    let elements = [Element::F16, Element::BF16];
    for (layout, element) in layouts.into_iter().flat_map(|l| elements.map(|e| (l, e))) {
        for (head_dim, mask) in [12, 16, 16].into_iter().zip(masks()) {
            let name = format!("{element}, D = {head_dim}, {layout:?} {mask:?}");
            let case = grouped_of(head_dim, name).with(|p| {
                p.mask = mask;
                p.score.bias = Some(layout);
                p.score.bias_element = element;
            });
            agree(&case, &strategies(gpu()));
        }
    }
}

#[test]
fn rows_that_a_bias_hides_are_dead() {
    let case = grouped("hidden rows").with(|p| {
        p.score.bias = Some(Layout {
            batch: 0,
            head: 0,
            ..Layout::heads_first(1, Q_LEN, KV_LEN)
        });
    });
    let row = |i: u32| {
        (0..KV_LEN).map(move |j| match (i % 4, j) {
            (0, _) if j % 2 == 0 => f64::from(f32::MIN),
            (0, _) => f64::NEG_INFINITY,
            (1, 0..36) => f64::NEG_INFINITY,
            _ => f64::from(i) - f64::from(j) / 8.0,
        })
    };
    let one: Vec<f64> = (0..Q_LEN).flat_map(row).collect();
    let bias = DenseBias {
        buffer: encode(Element::F32, &one),
        values: one.repeat(2 * HEADS as usize),
    };
    let inputs = Inputs {
        bias: Some(bias),
        ..Inputs::new(&case, Data::Normal(1.0), 3)
    };
    for choice in strategies(gpu()) {
        agree_on(&case, &inputs, std::slice::from_ref(&choice));
        let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
        let got = output.forward(&case);
        let fully_masked = got.lse.iter().filter(|x| **x == f64::NEG_INFINITY).count();
        assert_eq!(fully_masked as u32, 2 * HEADS * Q_LEN / 4, "{plan}");
    }
}

/// Every small operand in a buffer of the caller's; none of them needs another kernel than the host's values do.
#[test]
fn values_and_positions_on_the_device() {
    let positions =
        |len: u32, step: i32| (0..2 * len as i32).map(|n| step * (n % 23) - 9).collect();
    let host = grouped("host").with(|p| {
        p.mask = Mask::causal();
        p.score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
        p.score.t5 = Some(t5(true, 12));
        p.score.sinks = Some(Values::Host((0..HEADS).map(|h| h as f32 - 2.0).collect()));
        p.position.q_positions = Positions::Host(positions(Q_LEN, 3));
        p.position.k_positions = Positions::Host(positions(KV_LEN, -2));
    });
    agree(&host, &strategies(gpu()));
    let mut device = host.clone();
    let (score, position) = (&mut device.problem.score, &mut device.problem.position);
    let take = |values: &mut Values| match std::mem::replace(values, Values::Device) {
        Values::Host(values) => Some(values),
        Values::Device => None,
    };
    device.values.slopes = score.slopes.as_mut().and_then(take);
    device.values.sinks = score.sinks.as_mut().and_then(take);
    device.values.t5 = score.t5.as_mut().and_then(|t5| take(&mut t5.table));
    position.q_positions = Positions::Device;
    position.k_positions = Positions::Device;
    device.values.q_positions = Some(positions(Q_LEN, 3));
    device.values.k_positions = Some(positions(KV_LEN, -2));
    let compiled = gpu().attention.compiled_variants();
    agree(&device, &strategies(gpu()));
    assert!(gpu().attention.compiled_variants() >= compiled);
    let inputs = Inputs::new(&host, Data::Normal(1.0), 11);
    for choice in strategies(gpu()) {
        let [a, b] =
            [&host, &device].map(|case| run(gpu(), &gpu().attention, case, &inputs, &choice).1);
        assert!(a == b, "the device's values give another answer");
    }
}

/// All parts of a score and a rotation at once, behind every mask, NaN where nobody looks.
#[test]
fn everything_together() {
    for mask in masks() {
        let case = grouped(format!("everything {mask:?}")).with(|p| {
            p.mask = mask;
            p.score.softcap = Some(4.0);
            p.score.bias = Some(Layout::heads_first(HEADS, Q_LEN, KV_LEN));
            p.score.slopes = Some(Values::Host(alibi_slopes(HEADS)));
            p.score.t5 = Some(t5(false, 20));
            p.score.sinks = Some(Values::Host(vec![0.5; HEADS as usize]));
            p.position.rotary = Some(Rotary::new(12).with_dim(8));
        });
        agree(&case, &everywhere());
    }
}

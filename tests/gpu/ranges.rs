//! Numbers at the ends of their ranges: no row and no gradient becomes a NaN.

use wgpu_attention::problem::position::{RopeKind, Rotary, Temperature};
use wgpu_attention::problem::{
    MAX_SCALE, MAX_SCORE, MAX_SLOPE, Position, Positions, Problem, SOFTCAPS, T5, T5Bias, Values,
};
use wgpu_attention::{Element, Mask};

use crate::backward::run::{Given, run as run_backward};
use crate::device::gpu;
use crate::run::{run, strategies};
use crate::support::cases::{Case, Setting, Sizes};
use crate::support::inputs::{Data, Inputs};

const HEADS: u32 = 2;

fn values(x: f32) -> Values {
    Values::Host(vec![x, -x])
}

fn temperature() -> Rotary {
    Rotary::new(16)
        .with_kind(RopeKind::Custom {
            inv_freq: vec![1.0; 8],
            attention_factor: 1000.0,
        })
        .with_temperature(Temperature::new(1e6, 1).with_offset(1 << 30))
}

fn t5() -> T5Bias {
    let entries = (0..32 * HEADS).map(|n| if n % 3 == 0 { MAX_SCORE } else { -MAX_SCORE });
    T5Bias::new(T5::causal(), Values::Host(entries.collect()))
}

fn far(p: &mut Problem) {
    p.score.slopes = Some(values(MAX_SLOPE));
    let at = |n: u32, end: i32| if n.is_multiple_of(2) { end } else { -end };
    p.position.q_positions = Positions::Host((0..9).map(|n| at(n, 1 << 30)).collect());
    p.position.k_positions = Positions::Host((0..40).map(|n| at(n / 3, 1 << 30)).collect());
}

type Change = fn(&mut Problem);

#[test]
fn the_ends_of_ranges_make_no_nan() {
    let changes: [(&str, Change); 8] = [
        ("scale", |p| p.scale = Some(MAX_SCALE)),
        ("large softcap", |p| p.score.softcap = Some(*SOFTCAPS.end())),
        ("small softcap", |p| {
            p.score.softcap = Some(*SOFTCAPS.start())
        }),
        ("slopes", far),
        ("sinks", |p| p.score.sinks = Some(values(MAX_SCORE))),
        ("t5", |p| p.score.t5 = Some(t5())),
        ("rotary", |p| p.position = Position::rotary(temperature())),
        ("all", |p| {
            far(p);
            p.score.sinks = Some(values(MAX_SCORE));
            p.score.t5 = Some(t5());
        }),
    ];
    let setting = Setting::new(16, 8, Element::F32);
    let sizes = Sizes {
        batch: 1,
        q_heads: HEADS,
        kv_heads: 1,
        q_len: 9,
        kv_len: 40,
    };
    for (name, change) in changes {
        let case = Case::new(name, &setting, sizes).with(|p| {
            p.mask = Mask::causal();
            change(p);
        });
        let inputs = Inputs::new(&case, Data::Normal(1.0), 31);
        let given = Given::new(&case, 32);
        for choice in strategies(gpu()) {
            let (plan, output) = run(gpu(), &gpu().attention, &case, &inputs, &choice);
            let forward = output.forward(&case);
            let numbers = forward.o.iter().chain(&forward.lse);
            assert!(numbers.copied().all(f64::is_finite), "{name}\n{plan}");
            let attention = &gpu().attention;
            let (_, backward, output) =
                run_backward(gpu(), attention, &case, &inputs, &given, &choice);
            let gradients = output.gradients(&backward);
            let all = [&gradients.dq, &gradients.dk, &gradients.dv];
            let finite = all.into_iter().flatten().all(|x| x.is_finite());
            assert!(finite, "gradients of {name}\n{plan}");
        }
    }
}

//! Numbers that no f32 kernel can compute with are refused, with the range that it can; those at the ends of a range are
//! not.

use wgpu_attention::problem::position::{Llama3, RopeKind, Rotary, Temperature, XPos, Yarn};
use wgpu_attention::problem::{
    MAX_SCALE, MAX_SCORE, MAX_SLOPE, Position, SOFTCAPS, T5, T5Bias, Values,
};
use wgpu_attention::{Caps, Element, Error, Merge, Plan, PlanOptions, Problem, Shape};

fn problem() -> Problem {
    Problem::new(Shape::square(1, 2, 8, 16), Element::F32)
}

fn plan(problem: &Problem) -> Result<Plan, Error> {
    Plan::attention(problem, &Caps::BASELINE, &PlanOptions::default())
}

fn table(last: f32) -> T5Bias {
    let mut table = vec![0.0; 2 * 32];
    table[63] = last;
    T5Bias::new(T5::causal(), Values::Host(table))
}

#[test]
fn parts_of_a_score() {
    let values = |x: f32| Some(Values::Host(vec![0.0, x]));
    let next = |x: f32| f32::from_bits(x.to_bits() + 1);
    type Set = fn(&mut Problem, f32);
    let parts: [(Set, f32, &str); 5] = [
        (|p, x| p.scale = Some(x), MAX_SCALE, "scale is"),
        (
            |p, x| p.score.softcap = Some(x),
            *SOFTCAPS.end(),
            "softcap is",
        ),
        (
            |p, x| p.score.slopes = Some(Values::Host(vec![0.0, x])),
            MAX_SLOPE,
            "slopes[1] is",
        ),
        (
            |p, x| p.score.sinks = Some(Values::Host(vec![0.0, x])),
            MAX_SCORE,
            "sinks[1] is",
        ),
        (|p, x| p.score.t5 = Some(table(x)), MAX_SCORE, "t5[63] is"),
    ];
    for (set, most, said) in parts {
        let with = |x| {
            let mut problem = problem();
            set(&mut problem, x);
            plan(&problem)
        };
        with(most).unwrap_or_else(|e| panic!("{e}"));
        for x in [next(most), 3.4e38, f32::INFINITY, f32::NAN, -next(most)] {
            let error = with(x).expect_err("out of range").to_string();
            assert!(
                error.starts_with(said) && error.contains("allowed"),
                "{error}"
            );
        }
    }
    let mut small = problem();
    small.score.softcap = Some(1e-31);
    assert!(plan(&small).is_err());
    let merge = Merge::new(2, [1, 2, 4], 8, Element::F32).with_sinks(values(2.5e38));
    let error = Plan::merge(&merge, &Caps::BASELINE, &PlanOptions::default()).expect_err("a sink");
    assert!(error.to_string().contains("-1e37 to 1e37"), "{error}");
}

/// Each of these once made a NaN or an infinity in the table.
type Change = fn(&mut Rotary);

#[test]
fn rotations() {
    let with = |change: fn(&mut Rotary)| {
        let mut rotary = Rotary::new(16);
        change(&mut rotary);
        let mut problem = problem();
        problem.position = Position::rotary(rotary);
        plan(&problem)
    };
    let refused: [(Change, &str); 12] = [
        (
            |r| r.kind = dynamic(1e19),
            "factor is 10000000000000000000; allowed is a number of at least 1, at most 1e6",
        ),
        (|r| r.kind = RopeKind::Linear { factor: 1e300 }, "factor is"),
        (
            |r| r.kind = RopeKind::Yarn(yarn(|y| y.attention_factor = Some(1e30))),
            "attention_factor is",
        ),
        (
            |r| r.kind = RopeKind::Yarn(yarn(|y| y.mscale = Some(1e30))),
            "mscale is",
        ),
        (
            |r| {
                r.kind = RopeKind::Yarn(yarn(|y| {
                    y.factor = 1e5;
                    (y.mscale, y.mscale_all_dim) = (Some(1e3), Some(0.0));
                }))
            },
            "attention_factor is",
        ),
        (
            |r| r.kind = RopeKind::Yarn(yarn(|y| y.beta_fast = 1e300)),
            "beta_fast is",
        ),
        (
            |r| r.kind = RopeKind::Yarn(yarn(|y| (y.beta_slow, y.beta_fast) = (1e-320, 1e-310))),
            "beta_slow is",
        ),
        (
            |r| {
                r.kind = RopeKind::Llama3(
                    Llama3::new(8.0, 8192)
                        .with_low_freq_factor(1e39)
                        .with_high_freq_factor(1e40),
                )
            },
            "low_freq_factor is",
        ),
        (|r| r.base = 1e300, "rope_theta is"),
        (
            |r| r.temperature = Some(temperature(1e39, 0)),
            "temperature scale is",
        ),
        (
            |r| r.temperature = Some(temperature(0.1, u32::MAX)),
            "temperature offset is",
        ),
        (
            |r| r.xpos = Some(XPos::new(4).with_scale_base(1e-310)),
            "xpos scale_base is",
        ),
    ];
    for (change, said) in refused {
        let error = with(change).expect_err("out of range").to_string();
        assert!(
            error.contains(said) && error.contains("allowed is"),
            "{error}"
        );
    }
    let allowed: [fn(&mut Rotary); 4] = [
        |r| r.kind = dynamic(1e6),
        |r| r.base = 1e30,
        |r| r.temperature = Some(temperature(1e6, 1 << 30)),
        |r| {
            r.kind = RopeKind::Custom {
                inv_freq: vec![1.0; 8],
                attention_factor: 1000.0,
            }
        },
    ];
    for change in allowed {
        with(change).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// At the end of its range no frequency is infinite, in either precision.
#[test]
fn frequencies_at_the_end_of_a_range_are_numbers() {
    use wgpu_attention::problem::position::Precision;
    for precision in [Precision::Exact, Precision::AsTrained] {
        for (kind, dim) in [
            (dynamic(1e6), 4),
            (dynamic(1e6), 128),
            (RopeKind::NtkAware { factor: 1e6 }, 4),
        ] {
            let rotary = Rotary::new(dim)
                .with_kind(kind)
                .with_base(1e30)
                .with_precision(precision);
            for length in [1, 1 << 30] {
                let inv_freq = rotary.inv_freq(length).expect("legal");
                assert!(inv_freq.iter().all(|x| x.is_finite()), "{inv_freq:?}");
            }
        }
    }
}

fn dynamic(factor: f64) -> RopeKind {
    RopeKind::DynamicNtk {
        factor,
        original: 2048,
    }
}

fn yarn(change: fn(&mut Yarn)) -> Yarn {
    let mut yarn = Yarn::new(4.0, 2048);
    change(&mut yarn);
    yarn
}

fn temperature(scale: f64, offset: u32) -> Temperature {
    Temperature::new(scale, 1).with_offset(offset)
}

//! Parameters that make no sense: typed errors that name them.

use std::f64::consts::PI;

use wgpu_attention::problem::Score;

use super::*;

#[test]
fn bad_parameters_are_refused() {
    let with = |kind| Rotary::new(DIM).with_kind(kind);
    let yarn = |change: fn(&mut Yarn)| {
        let mut yarn = Yarn::new(4.0, 2048);
        change(&mut yarn);
        with(RopeKind::Yarn(yarn))
    };
    let custom = |value, len| {
        with(RopeKind::Custom {
            inv_freq: vec![value; len],
            attention_factor: 1.0,
        })
    };
    let list = |value, len| {
        with(RopeKind::LongRope(
            long_rope(32).with_long_factor(vec![value; len]),
        ))
    };
    let dim = |dim| Rotary::new(DIM).with_dim(dim);
    let fraction = |factor, fraction| with(RopeKind::Proportional { factor, fraction });
    let (factor, original) = (2.0, 2048);
    let turns = with(RopeKind::Llama3(llama3().with_high_freq_factor(0.5)));
    for (rotary, what) in [
        (dim(63), "rotary dimension"),
        (dim(0), "rotary dimension"),
        (dim(66), "rotary dimension"),
        (
            dim(32).with_start(34),
            "the first rotary channel is 34; allowed is at most",
        ),
        (Rotary::new(577), "head_dim"),
        (dim(64).with_base(f64::NAN), "rope_theta"),
        (with(RopeKind::Linear { factor: 0.99 }), "factor"),
        (
            with(RopeKind::Linear {
                factor: f64::INFINITY,
            }),
            "factor",
        ),
        (with(RopeKind::NtkAware { factor: f64::NAN }), "factor"),
        (
            with(RopeKind::DynamicNtk {
                factor,
                original: 0,
            }),
            "original",
        ),
        (
            dim(2).with_kind(RopeKind::NtkAware { factor }),
            "rotary dimension",
        ),
        (yarn(|y| y.beta_fast = y.beta_slow), "beta_fast"),
        (yarn(|y| y.beta_slow = 0.0), "beta_slow"),
        (yarn(|y| y.factor = 0.5), "factor"),
        (yarn(|y| y.mscale = Some(PI / 0.0)), "mscale"),
        (yarn(|y| y.attention_factor = Some(0.0)), "attention_factor"),
        (yarn(|y| y.original = 0), "original"),
        (list(1.0, 31), "long_factor"),
        (list(0.0, 32), "long_factor"),
        (turns, "high_freq_factor"),
        (fraction(1.0, 0.0), "partial_rotary_factor"),
        (fraction(1.0, 1.01), "partial_rotary_factor"),
        (fraction(0.0, 0.5), "factor"),
        (custom(1.0, 33), "inv_freq"),
        (custom(f64::NAN, 32), "inv_freq"),
        (dim(64).with_xpos(XPos::new(0).with_scale_base(0.0)), "xpos"),
        (
            dim(64).with_temperature(Temperature::new(factor, 0)),
            "floor",
        ),
        (
            with(RopeKind::DynamicNtk {
                factor: 0.0,
                original,
            }),
            "factor",
        ),
    ] {
        let error = rotary.inv_freq(LENGTH).unwrap_err().to_string();
        assert!(error.contains(what), "{error} does not name {what}");
        assert!(
            error.contains("allowed") || error.contains("needs"),
            "{error}"
        );
    }
    assert!(Rotary::new(DIM).with_fraction(-0.5).is_err());
}

#[test]
fn rotated_keys_need_a_rotation_of_queries() {
    let mut problem = Problem::new(Shape::square(1, 1, 4, 8), Element::F32);
    problem.position.k_rotated = true;
    assert_eq!(problem.validate(), Err(Error::RotatedKeys));
    problem.position.rotary = Some(Rotary::new(8));
    assert_eq!(problem.validate(), Ok(()));
}

/// Broadcast inputs may have more tokens than a shader can index positions of.
#[test]
fn too_many_positions_on_the_device_are_refused() {
    let shape = Shape {
        batch: 1 << 16,
        kv_len: 1 << 20,
        ..Shape::square(1, 1, 1, 1)
    };
    let mut problem = Problem::new(shape, Element::F32);
    let one = Layout {
        batch: 0,
        head: 0,
        row: 0,
        ..problem.k.layout
    };
    (problem.k.layout, problem.v.layout) = (one, one);
    problem.score.slopes = Some(Values::Host(vec![1.0]));
    problem.position.k_positions = Positions::Device;
    let error = problem.validate().expect_err("2^36 positions");
    let expected = Error::Extent {
        what: "k_positions",
        end: Some(1 << 36),
    };
    assert_eq!(error, expected);
}

#[test]
fn slopes_of_each_batch_and_of_all() {
    let shape = Shape::square(3, 2, 4, 8);
    let of = |slopes: Option<Values>, per_batch| {
        let score = Score::default()
            .with_slopes(slopes)
            .with_slopes_per_batch(per_batch);
        Problem::new(shape, Element::F32)
            .with_score(score)
            .validate()
    };
    let host = |count| Some(Values::Host(vec![0.5; count]));
    for (count, per_batch) in [(2, false), (6, true)] {
        assert_eq!(of(host(count), per_batch), Ok(()));
        let error = of(host(count), !per_batch).expect_err("another count");
        let text = error.to_string();
        assert!(
            text.contains("slopes") && text.contains(&count.to_string()),
            "{text}"
        );
    }
    let missing = Error::NoParameter {
        what: "slopes_per_batch",
        parameter: "slopes",
    };
    assert_eq!(of(None, true), Err(missing));
}

#[test]
fn an_element_of_no_bias() {
    let score = Score::default().with_bias_element(Element::F16);
    let problem = Problem::new(Shape::square(1, 2, 4, 8), Element::F32).with_score(score);
    let missing = Error::NoParameter {
        what: "bias_element",
        parameter: "bias",
    };
    assert_eq!(problem.validate(), Err(missing));
}

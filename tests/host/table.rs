//! The case table and the comparison, checked themselves.

use wgpu_attention::problem::Element;
use wgpu_attention::reference::{Forward, Gradients, backward, forward};

use crate::support::cases::{self, Distance, RotaryCase, Setting};
use crate::support::compare::{
    Check, FORWARD_FLOOR, assert_forward, assert_gradients, error, kept,
};
use crate::support::inputs::{Data, Inputs};
use crate::support::plain;
use crate::support::tensor::{
    POISON, decode, encode, gather, normal, outside, poisoned, round, scatter,
};

fn settings() -> Vec<Setting> {
    let softcap = |setting| Setting {
        softcap: Some(3.0),
        ..setting
    };
    vec![
        Setting::new(1, 1, Element::F32),
        softcap(Setting::new(16, 16, Element::F16)),
        Setting::new(33, 17, Element::BF16),
    ]
}

#[test]
fn every_case_is_legal_and_has_a_name_of_its_own() {
    for setting in settings() {
        let mut names = std::collections::HashSet::new();
        for case in cases::all(&setting) {
            assert_eq!(case.problem.validate(), Ok(()), "{}", case.name);
            assert!(names.insert(case.name.clone()), "twice: {}", case.name);
        }
    }
}

#[test]
fn a_plain_program_passes_every_case() {
    for setting in settings() {
        for (case, data) in cases::all(&setting).iter().zip(
            [Data::Normal(1.0), Data::Ramp, Data::Normal(30.0)]
                .iter()
                .cycle(),
        ) {
            let inputs = Inputs::new(case, *data, 1);
            let (p, tensors) = (&case.problem, inputs.tensors(case));
            assert_forward(
                p,
                &tensors,
                &stored(plain::forward(p, &tensors), setting.output),
                &case.name,
            );
            let rows = p.shape.rows() as usize;
            let (d_o, dlse) = (
                normal(1, rows * setting.value_dim as usize),
                normal(2, rows),
            );
            let o = kept(p, &tensors).o;
            let got = plain::backward(p, &tensors, &o, &d_o, Some(&dlse)).value;
            assert_gradients(
                case,
                &tensors,
                (&d_o, Some(&dlse)),
                (&stored_gradients(got, setting.element), setting.element),
                &case.name,
            );
        }
    }
}

/// A yardstick that is itself wrong allows anything.
#[test]
fn the_plain_program_is_near_the_definition() {
    let base = Setting::new(16, 8, Element::F32);
    for setting in [
        Setting {
            softcap: Some(3.0),
            bias: true,
            ..base
        },
        Setting {
            distance: Some(Distance::Alibi),
            positions: true,
            ..base
        },
        Setting {
            rotation: Some(RotaryCase {
                layout: Default::default(),
                temperature: true,
            }),
            ..base
        },
    ] {
        for case in cases::all(&setting) {
            let inputs = Inputs::new(&case, Data::Normal(1.0), 1);
            let (p, tensors) = (&case.problem, inputs.tensors(&case));
            let d_o = normal(1, p.shape.rows() as usize * setting.value_dim as usize);
            let got = plain::backward(p, &tensors, &kept(p, &tensors).o, &d_o, None).value;
            let want = backward(p, &tensors, &d_o, None);
            for (name, got, want) in [
                ("dq", &got.dq, &want.dq),
                ("dk", &got.dk, &want.dk),
                ("dv", &got.dv, &want.dv),
            ] {
                let off = error(got, want);
                assert!(off < 1e-4, "{}: {name} is off by {off:e}", case.name);
            }
        }
    }
}

fn stored(out: Forward, element: Element) -> Forward {
    Forward::new(decode(element, &encode(element, &out.o)), out.lse)
}

fn stored_gradients(out: Gradients, element: Element) -> Gradients {
    let store = |values: Vec<f64>| decode(element, &encode(element, &values));
    Gradients::new(store(out.dq), store(out.dk), store(out.dv))
}

#[test]
fn hidden_keys_hold_nan_and_change_nothing() {
    let setting = Setting::new(4, 4, Element::F16);
    let mut hidden = 0;
    for case in cases::all(&setting) {
        let inputs = Inputs::new(&case, Data::Normal(1.0), 3);
        hidden += inputs.k.iter().filter(|x| x.is_nan()).count();
        let out = forward(&case.problem, &inputs.tensors(&case));
        let slice = case.problem.slice.is_some();
        assert!(
            slice || out.o.iter().all(|x| x.is_finite()),
            "{}",
            case.name
        );
    }
    assert!(hidden > 0);
}

#[test]
fn tensors_survive_every_layout_and_leave_gaps_alone() {
    for setting in settings() {
        for case in cases::all(&setting) {
            let (s, o) = (case.problem.shape, case.problem.o);
            let sizes = [s.batch, s.q_heads, s.q_len];
            let values = normal(4, s.rows() as usize * s.value_dim as usize);
            let want: Vec<f64> = values.iter().map(|&x| round(o.element, x)).collect();
            let mut buffer = poisoned(o.bytes(sizes, s.value_dim));
            scatter(&mut buffer, o.element, &o.layout, sizes, &values);
            let got = gather(&buffer, o.element, &o.layout, sizes, s.value_dim);
            assert_eq!(got, want, "{}", case.name);
            let gaps = outside(&buffer, o.element, &o.layout, sizes, s.value_dim);
            assert!(gaps.iter().all(|&byte| byte == POISON), "{}", case.name);
        }
    }
}

/// What the comparison says of one output whose plain error is about 1e-7.
fn verdict(element: Element, got: &[f64], want: &[f64], zero: bool) -> Result<(), String> {
    let plain: Vec<f64> = want.iter().map(|x| x + 1e-7).collect();
    let check = Check {
        name: "o",
        element,
        floor: FORWARD_FLOOR,
        got,
        want,
        plain: &plain,
        terms: None,
        zero: &|_| zero,
    };
    check.run().map(|_| ())
}

#[test]
fn the_comparison_allows_rounding_and_twice_the_plain_error() {
    let want = [1.0, -1.0, 1.0, 1.0];
    let off = |by| [1.0, -1.0 + by, 1.0, 1.0];
    assert!(verdict(Element::F32, &off(1.1e-6), &want, false).is_ok());
    assert!(verdict(Element::F32, &off(1.4e-6), &want, false).is_err());
    assert!(verdict(Element::F16, &off(0.00048), &want, false).is_ok());
    assert!(verdict(Element::F16, &off(0.0006), &want, false).is_err());
    assert!(verdict(Element::BF16, &off(0.0039), &want, false).is_ok());
}

#[test]
fn the_comparison_names_the_worst_value() {
    let message = verdict(Element::F32, &[1.0, 1.5, 1.1], &[1.0; 3], false).unwrap_err();
    assert!(
        message.contains("index 1") && message.contains("1.5 instead of 1"),
        "{message}"
    );
}

#[test]
fn the_comparison_takes_no_nan_and_no_almost_dead_row() {
    let inf = f64::NEG_INFINITY;
    assert!(verdict(Element::F32, &[f64::NAN], &[1.0], false).is_err());
    assert!(verdict(Element::F32, &[f64::NAN], &[f64::NAN], false).is_ok());
    assert!(verdict(Element::F32, &[-3e38], &[inf], false).is_err());
    assert!(verdict(Element::F32, &[f64::NAN], &[inf], false).is_err());
    assert!(verdict(Element::F32, &[inf], &[inf], false).is_ok());
    assert!(verdict(Element::F32, &[1e-30], &[0.0], true).is_err());
    assert!(verdict(Element::F32, &[1.0, 2.0], &[1.0], false).is_err());
}

//! Partials of a cut, joined, are the whole.

use wgpu_attention::problem::{Element, Problem, Slice};
use wgpu_attention::reference::{Forward, Gradients, Tensors, backward, forward, merge};

use super::assert_near;
use crate::support::cases::{self, Case, Setting};
use crate::support::inputs::{Data, Inputs};
use crate::support::tensor::normal;

/// The same problem over these keys.
fn over(problem: &Problem, k: std::ops::Range<u32>) -> Problem {
    problem.clone().with_slice(Slice {
        k,
        ..problem.slice()
    })
}

/// The case over its keys in three parts, the middle one ragged and one perhaps empty.
fn cut(case: &Case) -> Vec<Problem> {
    let k = case.problem.slice().k;
    let (a, b) = (k.start + k.len() as u32 / 3, k.end - k.len() as u32 / 7);
    [k.start..a, a..b, b..k.end]
        .map(|part| over(&case.problem, part))
        .to_vec()
}

fn assert_same(got: &[f64], want: &[f64], name: &str) {
    for (&got, &want) in got.iter().zip(want) {
        if got != want && !(got.is_nan() && want.is_nan()) {
            assert!((got - want).abs() < 1e-12, "{name}: {got} is not {want}");
        }
    }
}

#[test]
fn every_case_cut_over_its_keys_merges_to_the_whole() {
    for case in cases::all(&Setting::new(3, 2, Element::F32)) {
        let inputs = Inputs::new(&case, Data::Normal(2.0), 5);
        let tensors = inputs.tensors(&case);
        let whole = forward(&case.problem, &tensors);
        let parts: Vec<Forward> = cut(&case).iter().map(|p| forward(p, &tensors)).collect();
        let merged = merge(&parts);
        assert_same(&merged.o, &whole.o, &case.name);
        assert_same(&merged.lse, &whole.lse, &case.name);
    }
}

#[test]
fn gradients_of_a_cut_add_up() {
    for case in cases::all(&Setting::new(2, 3, Element::F32)) {
        let inputs = Inputs::new(&case, Data::Normal(1.0), 6);
        let tensors = inputs.tensors(&case);
        let rows = case.problem.shape.rows() as usize;
        let (d_o, dlse) = (normal(1, 3 * rows), normal(2, rows));
        let whole = backward(&case.problem, &tensors, &d_o, Some(&dlse));
        let parts: Vec<Gradients> = cut(&case)
            .iter()
            .map(|p| backward(p, &tensors, &d_o, Some(&dlse)))
            .collect();
        let sum = |of: fn(&Gradients) -> &Vec<f64>| -> Vec<f64> {
            let part = |n: usize| parts.iter().map(|part| of(part)[n]).sum();
            (0..of(&whole).len()).map(part).collect()
        };
        assert_same(&sum(|g| &g.dq), &whole.dq, &case.name);
        assert_same(&sum(|g| &g.dk), &whole.dk, &case.name);
        assert_same(&sum(|g| &g.dv), &whole.dv, &case.name);
    }
}

#[test]
fn empty_partials_merge_to_an_empty_one() {
    let empty = Forward::new(vec![0.0; 2], vec![f64::NEG_INFINITY]);
    assert_eq!(merge(&[empty.clone(), empty.clone()]), empty);
    let full = Forward::new(vec![3.0, 4.0], vec![-7.5]);
    assert_eq!(merge(&[empty, full.clone()]), full);
}

#[test]
fn partials_weigh_by_the_exponential_of_their_lse() {
    let part = |o, lse| Forward::new(vec![o], vec![lse]);
    let merged = merge(&[part(1.0, 1000.0), part(5.0, 1000.0 + 3f64.ln())]);
    assert_near(merged.o[0], 4.0, 1e-12);
    assert_near(merged.lse[0], 1000.0 + 4f64.ln(), 1e-12);
}

#[test]
fn rows_outside_of_a_slice_are_not_computed() {
    let mut p = super::problem(4, 4, 1, 1);
    p.slice = Some(Slice { q: 1..3, k: 0..2 });
    let out = forward(
        &p,
        &Tensors::new(&[0.0; 4], &[0.0; 4], &[1.0, 3.0, 9.0, 9.0]),
    );
    assert!(out.o[0].is_nan() && out.o[3].is_nan() && out.lse[0].is_nan());
    assert_eq!(out.o[1..3], [2.0, 2.0]);
}

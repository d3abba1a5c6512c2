//! Answers that can be written down.

use wgpu_attention::problem::{Element, Lengths, Mask, Problem, Shape};
use wgpu_attention::reference::{Tensors, forward, forward_row};

use super::{assert_near, problem};
use crate::support::tensor::normal;

const EXACT: f64 = 1e-13;

#[test]
fn equal_scores_give_the_mean_of_the_visible_values() {
    let mut p = problem(4, 9, 3, 2);
    p.mask = Mask::causal();
    let (q, k, v) = (vec![0.0; 12], normal(1, 27), normal(2, 18));
    let out = forward(&p, &Tensors::new(&q, &k, &v));
    for i in 0..4 {
        let n = 6 + i;
        for c in 0..2 {
            let mean = (0..n).map(|j| v[2 * j + c]).sum::<f64>() / n as f64;
            assert_near(out.o[2 * i + c], mean, EXACT);
        }
        assert_near(out.lse[i], (n as f64).ln(), EXACT);
    }
}

#[test]
fn equal_keys_give_the_log_of_their_number_beside_the_score() {
    let p = problem(1, 11, 4, 1);
    let (q, v) = ([1.0, 2.0, 3.0, 4.0], normal(3, 11));
    let k = [0.5, -1.0, 2.0, 0.25].repeat(11);
    let out = forward(&p, &Tensors::new(&q, &k, &v));
    // ⟨q, k⟩ = 5.5, scale 1/2
    assert_near(out.lse[0], 11f64.ln() + 2.75, EXACT);
}

#[test]
fn a_single_visible_key_gives_its_value_and_score() {
    let mut p = problem(5, 5, 2, 3);
    p.mask = Mask::window(0, 0);
    p.scale = Some(0.5);
    let (q, k, v) = (normal(4, 10), normal(5, 10), normal(6, 15));
    let out = forward(&p, &Tensors::new(&q, &k, &v));
    assert_eq!(out.o, v);
    for i in 0..5 {
        let s = 0.5 * (q[2 * i] * k[2 * i] + q[2 * i + 1] * k[2 * i + 1]);
        assert_near(out.lse[i], s, EXACT);
    }
}

#[test]
fn two_keys_weigh_as_a_logistic_function() {
    let p = problem(1, 2, 1, 1);
    let out = forward(&p, &Tensors::new(&[2.0], &[0.3, -0.4], &[1.0, 0.0]));
    let weight = 1.0 / (1.0 + (-1.4f64).exp());
    assert_near(out.o[0], weight, EXACT);
    assert_near(out.lse[0], (0.6f64.exp() + (-0.8f64).exp()).ln(), EXACT);
}

#[test]
fn a_narrow_softcap_bounds_and_a_wide_one_changes_nothing() {
    let mut p = problem(1, 1, 1, 1);
    let lse = |p: &Problem, q| forward(p, &Tensors::new(&[q], &[1.0], &[1.0])).lse[0];
    p.score.softcap = Some(2.0);
    assert_near(lse(&p, 1e6), 2.0, EXACT);
    assert_near(lse(&p, -1e6), -2.0, EXACT);
    assert_near(lse(&p, 1.0), 2.0 * 0.5f64.tanh(), EXACT);
    p.score.softcap = Some(1e9);
    assert_near(lse(&p, 1.5), 1.5, 1e-6);
}

#[test]
fn scores_of_any_size_neither_overflow_nor_vanish() {
    let p = problem(1, 3, 1, 1);
    for size in [1e4, -1e4] {
        let out = forward(&p, &Tensors::new(&[size], &[1.0; 3], &[1.0, 2.0, 6.0]));
        // f64 holds an lse of 10⁴ to 10⁻¹².
        assert_near(out.o[0], 3.0, 1e-11);
        assert_near(out.lse[0], size + 3f64.ln(), 1e-11);
    }
}

#[test]
fn query_heads_read_the_kv_head_of_their_group() {
    let shape = Shape {
        kv_heads: 2,
        value_dim: 1,
        ..Shape::square(2, 4, 1, 1)
    };
    let p = Problem::new(shape, Element::F32);
    let v = [10.0, 20.0, 30.0, 40.0];
    let out = forward(&p, &Tensors::new(&[0.0; 8], &[0.0; 4], &v));
    assert_eq!(out.o, [10.0, 10.0, 20.0, 20.0, 30.0, 30.0, 40.0, 40.0]);
}

#[test]
fn fully_masked_rows_are_zero_and_minus_infinity() {
    let mut p = problem(5, 2, 1, 2);
    p.mask = Mask::causal();
    let out = forward(&p, &Tensors::new(&[1.0; 5], &[1.0; 2], &[3.0; 4]));
    assert_eq!(out.lse[..3], [f64::NEG_INFINITY; 3]);
    assert_eq!(out.o[..6], [0.0; 6]);
    for &o in &out.o[6..] {
        assert_near(o, 3.0, EXACT);
    }
}

#[test]
fn no_keys_at_all_make_every_row_dead() {
    let mut p = problem(2, 3, 1, 1);
    p.mask.kv_lens = Lengths::Host(vec![0]);
    let nan = [f64::NAN; 3];
    let out = forward(&p, &Tensors::new(&[1.0; 2], &nan, &nan));
    assert_eq!(out.o, [0.0; 2]);
    assert_eq!(out.lse, [f64::NEG_INFINITY; 2]);
}

#[test]
fn a_visible_nan_stays_in_the_rows_that_see_it_and_a_hidden_one_in_none() {
    let mut p = problem(3, 3, 1, 1);
    p.mask = Mask::causal();
    let k = [1.0, f64::NAN, 1.0];
    let out = forward(&p, &Tensors::new(&[1.0; 3], &k, &[2.0; 3]));
    assert_eq!(out.o[0], 2.0);
    assert!(out.o[1..].iter().chain(&out.lse[1..]).all(|x| x.is_nan()));
}

#[test]
fn a_sampled_row_is_the_row_of_the_whole() {
    let mut p = problem(6, 8, 4, 5);
    p.mask = Mask::window(3, 1);
    let (q, k, v) = (normal(7, 24), normal(8, 32), normal(9, 40));
    let tensors = Tensors::new(&q, &k, &v);
    let out = forward(&p, &tensors);
    let (o, lse) = forward_row(&p, &tensors, 0, 0, 4);
    assert_eq!(out.o[20..25], o);
    assert_eq!(out.lse[4], lse);
}

//! Visible pairs, drawn: a row for each query, an `x` for each key that it sees.

use wgpu_attention::problem::{Lengths, Mask, Offsets, Window};
use wgpu_attention::reference::{Tensors, visible};

use super::problem;

#[track_caller]
fn assert_drawn(kv_len: u32, mask: Mask, want: &[&str]) {
    let device = (Some([u32::MAX].as_slice()), Some([-1].as_slice()));
    let mut p = problem(want.len() as u32, kv_len, 1, 1);
    p.mask = mask;
    let tensors = Tensors::new(&[], &[], &[])
        .with_kv_lens(device.0)
        .with_q_offset(device.1);
    let sees = |i, j| visible(&p, &tensors, 0, 0, i, j);
    let drawn: Vec<String> = (0..p.shape.q_len)
        .map(|i| {
            let row = (0..kv_len).map(|j| if sees(i, j) { 'x' } else { '.' });
            row.collect()
        })
        .collect();
    assert_eq!(drawn, want);
}

#[test]
fn causal_ends_at_the_bottom_right() {
    assert_drawn(3, Mask::causal(), &["x..", "xx.", "xxx"]);
    assert_drawn(4, Mask::causal(), &["xxx.", "xxxx"]);
    assert_drawn(2, Mask::causal(), &["..", "..", "x.", "xx"]);
}

#[test]
fn a_prefix_is_exempt_from_causal_only() {
    let prefix = |mask: Mask| mask.with_prefix(2);
    assert_drawn(4, prefix(Mask::causal()), &["xx..", "xx..", "xxx.", "xxxx"]);
    let window = Mask::window(0, 1).with_causal(true);
    assert_drawn(4, prefix(window), &["xx..", ".x..", "..x.", "...x"]);
}

#[test]
fn windows_include_both_ends() {
    assert_drawn(4, Mask::window(1, 0), &["x...", "xx..", ".xx.", "..xx"]);
    assert_drawn(4, Mask::window(0, 2), &["xxx.", ".xxx", "..xx", "...x"]);
    let right = Window {
        left: None,
        right: Some(1),
    };
    let mask = Mask::default().with_window(right);
    assert_drawn(4, mask, &["xxxx", "xxxx"]);
}

#[test]
fn first_keys_are_exempt_from_the_window_but_not_from_causal() {
    let first = |mask: Mask| mask.with_first(2);
    assert_drawn(
        5,
        first(Mask::window(0, 0).with_causal(true)),
        &["x....", "xx...", "xxx..", "xx.x.", "xx..x"],
    );
    assert_drawn(3, first(Mask::default()), &["xxx", "xxx"]);
}

#[test]
fn lengths_hide_keys_and_leave_the_diagonal_alone() {
    let mask = Mask::causal().with_kv_lens(Lengths::Host(vec![3]));
    assert_drawn(4, mask, &["xx..", "xxx.", "xxx."]);
}

#[test]
fn offsets_move_the_diagonal() {
    let at = |offset| Mask::window(1, 0).with_q_offset(Offsets::Host(vec![offset]));
    assert_drawn(4, at(0), &["x...", "xx..", ".xx."]);
    assert_drawn(4, at(-2), &["....", "....", "x..."]);
    assert_drawn(4, at(3), &["..xx", "...x", "...."]);
}

#[test]
fn device_lengths_are_clamped_and_device_offsets_used() {
    let mask = Mask::causal()
        .with_kv_lens(Lengths::Device)
        .with_q_offset(Offsets::Device);
    assert_drawn(3, mask, &["...", "x..", "xx."]);
}

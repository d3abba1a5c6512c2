//! How q and k rotate, and where tokens stand.

use wgpu_attention::problem::position::{Precision, Rotary, RotaryLayout, Temperature, XPos};
use wgpu_attention::problem::{Offsets, Positions};

use super::Draw;
use super::mask::FARTHEST;
use crate::support::cases::Case;
use crate::support::rotary::kinds;

/// What a table holds where the device has the positions.
const RANGE: std::ops::RangeInclusive<i32> = -3 * FARTHEST..=3 * FARTHEST;

pub fn draw(draw: &mut Draw, case: &mut Case) {
    let head_dim = case.problem.shape.head_dim;
    if head_dim >= 2 && draw.one_in(3) {
        case.problem.position.rotary = Some(rotary(draw, head_dim));
        case.problem.position.k_rotated = draw.one_in(6);
        if draw.one_in(3) {
            case.problem.position.length = Some(draw.size(1, 9000));
        }
    }
    if draw.one_in(5) {
        positions(draw, case);
    }
    let (p, mask) = (&mut case.problem.position, &case.problem.mask);
    let on_device = [&p.q_positions, &p.k_positions].contains(&&Positions::Device);
    if p.rotary.is_some() && (on_device || mask.q_offset == Offsets::Device) {
        p.range = Some(RANGE);
    }
}

fn rotary(draw: &mut Draw, head_dim: u32) -> Rotary {
    let mut rotary = Rotary::new(head_dim);
    rotary.dim = match draw.one_in(2) {
        true => head_dim / 2 * 2,
        false => 2 * draw.size(1, head_dim / 2),
    };
    if draw.one_in(4) {
        rotary.start = draw.size(0, head_dim - rotary.dim);
    }
    rotary.kind = draw.pick(&kinds(rotary.dim)).1;
    rotary.layout = draw.pick(&[RotaryLayout::Half, RotaryLayout::Interleaved]);
    rotary.precision = draw.pick(&[Precision::Exact, Precision::AsTrained]);
    rotary.xpos = draw.one_in(6).then(|| XPos::new(draw.of(0..=60)));
    rotary.temperature = draw
        .one_in(5)
        .then_some(Temperature::new(0.3, 16).with_offset(1));
    rotary
}

fn positions(draw: &mut Draw, case: &mut Case) {
    let shape = case.problem.shape;
    let mut given = |len: u32| -> (Positions, Option<Vec<i32>>) {
        let (step, start) = (draw.of(1..=3), draw.of(-40..=20));
        let tokens = (shape.batch * len) as i32;
        let given: Vec<i32> = (0..tokens).map(|n| step * (n % 37) + start).collect();
        match draw.size(0, 2) {
            0 => (Positions::Host(given), None),
            1 => (Positions::Device, Some(given)),
            _ => (Positions::Index, None),
        }
    };
    let (q, k) = (given(shape.q_len), given(shape.kv_len));
    (case.problem.position.q_positions, case.values.q_positions) = q;
    (case.problem.position.k_positions, case.values.k_positions) = k;
}

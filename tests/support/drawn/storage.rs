//! How keys and values are stored, for forward calls.

use wgpu_attention::problem::Element::{BF16, F16, F32, Int4, Int8};

use super::Draw;
use crate::support::cases::Case;

/// Stores k and v otherwise than q, now and then rotated by Hadamard matrices where the problem may have it so.
pub fn draw(draw: &mut Draw, case: &mut Case) {
    let elements = [Int8, Int4, Int8, Int4, F32, F16, BF16];
    case.store(draw.pick(&elements), draw.pick(&elements));
    let (p, rare) = (&mut case.problem, draw.one_in(2));
    let rotates = p.position.rotary.is_some() && !p.position.k_rotated;
    p.k_hadamard = rare && draw.one_in(2) && p.shape.head_dim % 2 == 0 && !rotates;
    p.v_hadamard = rare && draw.one_in(2) && p.shape.value_dim % 2 == 0;
}

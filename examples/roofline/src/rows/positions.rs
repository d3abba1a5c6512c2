//! What position schemes and biases cost: the forward pass with and without them, and the rotation pass alone.

use wgpu_attention::Layout;
use wgpu_attention::problem::position::Rotary;
use wgpu_attention::problem::{Element, Position, Problem, Score, Shape, Values, alibi_slopes};

use crate::case::{Group, Row};
use crate::{forward, rotate};

const HEADS: u32 = 8;
const LEN: u32 = 1024;
const DIM: u32 = 64;

pub fn groups() -> Vec<Group> {
    vec![schemes(), rotation()]
}

/// The same attention with each scheme; the first row is without any.
fn schemes() -> Group {
    let plain = || Problem::new(Shape::square(1, HEADS, LEN, DIM), Element::F32);
    let score = |score| plain().with_score(score);
    let rope = Position::rotary(Rotary::new(DIM));
    let alibi = Score::default().with_slopes(Values::Host(alibi_slopes(HEADS)));
    let bias = Score::default().with_bias(Layout::heads_first(HEADS, LEN, LEN));
    let row = |params: &str, problem| Row {
        kernel: "forward",
        strategy: "subgroup",
        problem,
        params: params.into(),
        case: forward::case,
        baseline: None,
    };
    let rope = plain().with_position(rope);
    let without = row("plain", plain());
    let schemes = [
        row("rope", rope),
        row("alibi", score(alibi)),
        row("bias", score(bias)),
    ]
    .map(|row| row.over("plain", &without));
    Group(std::iter::once(without).chain(schemes).collect())
}

/// 32 MiB of rows.
fn rotation() -> Group {
    let problem = Problem::new(Shape::square(1, HEADS, 16_384, DIM), Element::F32)
        .with_position(Position::rotary(Rotary::new(DIM)));
    Group(vec![Row {
        kernel: "rotate",
        strategy: "",
        problem,
        params: "32 MiB".into(),
        case: rotate::case,
        baseline: None,
    }])
}

//! Where rows lie.

use wgpu_attention::problem::{Layout, Problem};

use super::Draw;
use crate::support::cases::Case;

pub fn draw(draw: &mut Draw, case: &mut Case) {
    let p = &mut case.problem;
    let s = p.shape;
    match draw.size(0, 7) {
        0 => {
            p.q.layout = Layout::rows_first(s.q_heads, s.q_len, s.head_dim);
            p.k.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.head_dim);
            p.v.layout = Layout::rows_first(s.kv_heads, s.kv_len, s.value_dim);
            p.o.layout = Layout::rows_first(s.q_heads, s.q_len, s.value_dim);
        }
        1 => case.packed = pack(p),
        2 => padded(draw, p),
        3 => broadcast(draw, p),
        _ => {}
    }
}

/// Each row of one buffer holds its q heads, k heads and v heads, where there are as many queries as keys.
fn pack(p: &mut Problem) -> bool {
    let s = p.shape;
    if s.q_len != s.kv_len {
        return false;
    }
    let [q, k, v] = [
        s.q_heads * s.head_dim,
        s.kv_heads * s.head_dim,
        s.kv_heads * s.value_dim,
    ]
    .map(u64::from);
    let row = q + k + v;
    let part = |offset, dim: u32| Layout {
        offset,
        batch: row * u64::from(s.q_len),
        head: u64::from(dim),
        row,
    };
    p.q.layout = part(0, s.head_dim);
    p.k.layout = part(q, s.head_dim);
    p.v.layout = part(q + k, s.value_dim);
    true
}

fn padded(draw: &mut Draw, p: &mut Problem) {
    let s = p.shape;
    for (operand, heads, rows, dim) in [
        (&mut p.q, s.q_heads, s.q_len, s.head_dim),
        (&mut p.k, s.kv_heads, s.kv_len, s.head_dim),
        (&mut p.v, s.kv_heads, s.kv_len, s.value_dim),
        (&mut p.o, s.q_heads, s.q_len, s.value_dim),
    ] {
        let (gap, offset) = (draw.pick(&[0, 1, 2, 3, 4, 8]), draw.size(0, 70));
        operand.layout = Layout::heads_first(heads, rows, dim + gap).at(offset.into());
    }
}

fn broadcast(draw: &mut Draw, p: &mut Problem) {
    for operand in [&mut p.q, &mut p.k, &mut p.v] {
        let layout = &mut operand.layout;
        match draw.size(0, 5) {
            0 => layout.batch = 0,
            1 => layout.head = 0,
            2 => layout.row = 0,
            _ => {}
        }
    }
}

//! Rows in caches, ragged rows and what goes with them: legal now and then.

use wgpu_attention::problem::{
    CuSeqlens, KvAddress, Layout, Lengths, MaxScore, Offsets, Operand, Pages, Ring, Shape,
};
use wgpu_attention::{Element, KvAppend, Problem};

use super::task::{ELEMENTS, rotary, spoil};
use crate::support::drawn::Draw;

fn address(draw: &mut Draw, shape: &Shape) -> KvAddress {
    match draw.size(0, 2) {
        0 => KvAddress::Strided,
        1 => {
            let page_len = draw.pick(&[1, 2, 16, 16, 64, 256, 3, 0, u32::MAX]);
            let per_sequence = draw.near(1, shape.kv_len.clamp(1, 300));
            KvAddress::Paged(Pages::new(
                page_len,
                draw.near(1, 40),
                match draw.one_in(2) {
                    true => per_sequence,
                    false => shape.kv_len.div_ceil(page_len.max(1)),
                },
            ))
        }
        _ => KvAddress::Ring(Ring::new(draw.near(0, 9), draw.near(1, 300))),
    }
}

/// Ends that rise, or nearly, or lie on the device.
fn cu_seqlens(draw: &mut Draw, sequences: u32, most: u32) -> CuSeqlens {
    let mut ends = vec![draw.pick(&[0, 0, 0, 0, 1, u32::MAX])];
    for _ in 0..sequences.min(9) {
        let last = ends.last().copied().unwrap_or_default();
        ends.push(last.wrapping_add(draw.near(0, most.min(300))));
    }
    match draw.one_in(3) {
        true => CuSeqlens::Device {
            total: draw.near(0, 900),
        },
        false => CuSeqlens::Host(ends),
    }
}

fn ragged(draw: &mut Draw, p: &mut Problem) {
    let s = p.shape;
    let q = cu_seqlens(draw, s.batch, s.q_len);
    let k = (!draw.rarely()).then(|| cu_seqlens(draw, s.batch, s.kv_len));
    let rows = |operand: &Operand, heads, total, dim| {
        Operand::heads_first(operand.element, heads, total, dim)
    };
    p.q = rows(&p.q, s.q_heads, q.total(), s.head_dim);
    p.o = rows(&p.o, s.q_heads, q.total(), s.value_dim);
    p.lse = Layout::heads_first(s.q_heads, q.total(), 1);
    if let Some(k) = &k {
        p.k = rows(&p.k, s.kv_heads, k.total(), s.head_dim);
        p.v = rows(&p.v, s.kv_heads, k.total(), s.value_dim);
    }
    (p.cu_seqlens_q, p.cu_seqlens_k) = (Some(q), k);
}

pub fn problem(draw: &mut Draw, p: &mut Problem) {
    match draw.size(0, 4) {
        0 => *p = p.clone().with_cache(address(draw, &p.shape)),
        1 => p.kv_address = address(draw, &p.shape),
        2 => ragged(draw, p),
        3 => p.shared_prefix = draw.near(0, p.shape.kv_len.min(300)),
        _ => {
            let mut max_score = MaxScore::rows(&p.shape).with_per_head(draw.one_in(2));
            if draw.rarely() {
                max_score.layout = draw.absurd_layout(max_score.layout);
            }
            p.max_score = Some(max_score);
        }
    }
    if draw.rarely() {
        (p.k.element, p.v.element) = (draw.pick(&ELEMENTS), draw.pick(&ELEMENTS));
        (p.k_hadamard, p.v_hadamard) = (draw.one_in(2), draw.one_in(2));
    }
}

pub fn append(draw: &mut Draw) -> KvAppend {
    let mut shape = Shape::square(draw.near(1, 3), draw.near(1, 4), draw.near(1, 300), 8);
    (shape.kv_len, shape.head_dim) = (draw.near(1, 900), draw.near(1, 300));
    shape.value_dim = draw.near(1, 300);
    let address = address(draw, &shape);
    let mut append = KvAppend::new(shape, address, draw.pick(&Element::ALL));
    for operand in [&mut append.k_cache, &mut append.v_cache] {
        operand.element = draw.pick(&ELEMENTS);
        spoil(draw, operand);
    }
    spoil(draw, &mut append.k);
    if draw.one_in(2) {
        append.cu_seqlens = Some(cu_seqlens(draw, shape.batch, shape.q_len));
    }
    if draw.one_in(2) {
        append.rotary = Some(rotary(draw, shape.head_dim));
    }
    if draw.one_in(2) {
        (append.kv_lens, append.q_offset) = (Lengths::Device, Offsets::Device);
    }
    append.rows_given = draw.rarely();
    (append.k_hadamard, append.v_hadamard) = (draw.rarely(), draw.rarely());
    append.range = draw.rarely().then(|| draw.absurd_int()..=draw.absurd_int());
    append
}

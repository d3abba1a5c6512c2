//! A file of tensors, most of them of the right type and shape.

use safetensors::tensor::{Dtype, TensorView, serialize};
use wgpu_attention::Element;

use crate::support::drawn::Draw;
use crate::support::tensor::{encode, normal};

struct Tensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub fn file(draw: &mut Draw) -> Vec<u8> {
    let tensors = tensors(draw);
    let views = tensors.iter().filter_map(|t| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
        Some((t.name, view.ok()?))
    });
    // A file without tensors is nonsense too.
    serialize(views, None).unwrap_or_default()
}

fn tensors(draw: &mut Draw) -> Vec<Tensor> {
    let [b, kv, n, m] = [
        draw.size(1, 2),
        draw.size(1, 2),
        draw.size(0, 20),
        draw.size(0, 33),
    ];
    let (hq, d, dv) = (kv * draw.size(1, 2), 8, draw.pick(&[4, 8, 9]));
    let element = draw.pick(&Element::ALL);
    let seed = draw.word();
    let mut all = vec![
        floats("q", element, &[b, hq, n, d], seed),
        floats("k", element, &[b, kv, m, d], seed ^ 1),
        floats("v", element, &[b, kv, m, dv], seed ^ 2),
    ];
    let mut optional = vec![
        integers("kv_lens", &[b], draw.size(0, m)),
        integers("q_offset", &[b], 3),
        integers("q_positions", &[b, n], 9),
        integers("k_positions", &[b, m], 2),
        integers("segments_q", &[b, n], 1),
        integers("segments_k", &[b, m], 1),
        floats("bias", element, &[b, hq, n, m], seed),
        floats("slopes", Element::F32, &[hq], seed),
        floats("sinks", Element::F32, &[hq], seed),
        floats("t5", Element::F32, &[8, hq], seed),
        bytes("blocks", &[b, hq, n.div_ceil(16), m.div_ceil(16)]),
        bytes("mask", &[b, 1, n, m]),
        floats("do", element, &[b, hq, n, dv], seed),
        floats("dlse", Element::F32, &[b, hq, n], seed),
        floats("mod_data", Element::F32, &[5], seed),
        floats("tree", Element::F32, &[b, n], seed),
    ];
    for _ in 0..draw.size(0, 3) {
        let at = draw.size(0, optional.len() as u32 - 1) as usize;
        all.push(optional.swap_remove(at));
    }
    if draw.one_in(4) {
        let at = draw.size(0, all.len() as u32 - 1) as usize;
        spoil(draw, &mut all[at]);
    }
    all
}

fn count(shape: &[u32]) -> usize {
    shape.iter().product::<u32>() as usize
}

fn sizes(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|&n| n as usize).collect()
}

fn floats(name: &'static str, element: Element, shape: &[u32], seed: u64) -> Tensor {
    let dtype = match element {
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::BF16 => Dtype::BF16,
        _ => unreachable!("{element} is no type that stores number by number"),
    };
    let bytes = encode(element, &normal(seed, count(shape)));
    Tensor {
        name,
        dtype,
        shape: sizes(shape),
        bytes,
    }
}

fn integers(name: &'static str, shape: &[u32], value: u32) -> Tensor {
    let bytes = (0..count(shape))
        .flat_map(|_| value.to_le_bytes())
        .collect();
    Tensor {
        name,
        dtype: Dtype::I32,
        shape: sizes(shape),
        bytes,
    }
}

fn bytes(name: &'static str, shape: &[u32]) -> Tensor {
    let bytes = (0..count(shape)).map(|n| (n % 3) as u8).collect();
    Tensor {
        name,
        dtype: Dtype::U8,
        shape: sizes(shape),
        bytes,
    }
}

/// Another shape of as many elements, another type of as many bytes, or numbers of no sense.
fn spoil(draw: &mut Draw, tensor: &mut Tensor) {
    match draw.size(0, 3) {
        0 => tensor.shape.rotate_left(1),
        1 => tensor.shape = vec![tensor.shape.iter().product()],
        2 => {
            tensor.dtype = match tensor.dtype.bitsize() {
                32 => draw.pick(&[Dtype::F32, Dtype::I32, Dtype::U32]),
                16 => draw.pick(&[Dtype::F16, Dtype::BF16, Dtype::I16]),
                _ => draw.pick(&[Dtype::U8, Dtype::BOOL, Dtype::I8]),
            };
        }
        _ => {
            let word = draw.absurd_float().to_le_bytes();
            let at = draw.size(0, tensor.bytes.len() as u32 / 4) as usize * 4;
            if let Some(place) = tensor.bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&word);
            }
        }
    }
}

//! Keys and values as a cache of quantised rows holds them.

use std::borrow::Cow;

use anyhow::Result;
use half::{bf16, f16};
use wgpu_attention::{Element, Problem, Role, quantize};

/// Quantises k and v among the operands, where the problem stores them so and the input does not.
pub fn quantize(problem: &Problem, operands: &mut [(Role, Cow<'_, [u8]>)]) -> Result<()> {
    let shape = &problem.shape;
    for (role, bytes) in operands {
        let (element, dim) = match role {
            Role::K => (problem.k.element, shape.head_dim),
            Role::V => (problem.v.element, shape.value_dim),
            _ => continue,
        };
        if element.is_quantized() {
            let rows = floats(problem.q.element, bytes);
            let words = quantize::quantize(element, &rows, dim)?;
            *bytes = Cow::Owned(bytemuck::cast_slice(&words).to_vec());
        }
    }
    Ok(())
}

fn floats(element: Element, bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.chunks_exact(2).map(|x| [x[0], x[1]]);
    match element {
        Element::F16 => halves.map(|x| f16::from_le_bytes(x).to_f32()).collect(),
        Element::BF16 => halves.map(|x| bf16::from_le_bytes(x).to_f32()).collect(),
        _ => bytes
            .chunks_exact(4)
            .map(bytemuck::pod_read_unaligned)
            .collect(),
    }
}

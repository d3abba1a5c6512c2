//! Tensors of a value for each pair, broadcast over axes of size 1.

use std::borrow::Cow;

use anyhow::{Result, bail, ensure};
use wgpu_attention::Shape;
use wgpu_attention::problem::Layout;

use crate::score::f32_bytes;
use crate::tensors::Tensor;

/// The bias as f32: as it lies in the file, or converted.
pub fn bias_bytes<'a>(tensor: &Tensor<'a>) -> Result<Cow<'a, [u8]>> {
    let values = tensor.numbers()?;
    if let Some(n) = values.iter().position(|x| *x == f64::INFINITY) {
        bail!("bias[{n}] is inf; give finite numbers, or -inf where a pair is to be hidden");
    }
    f32_bytes(tensor)
}

/// Where the rows of `[B|1, Hq|1, Nq|1, Nk]` begin, with `words` for each: 0 steps along what is broadcast.
pub fn layout(tensor: &Tensor, shape: &Shape, words: u32) -> Result<Layout> {
    let sizes = [shape.batch, shape.q_heads, shape.q_len, shape.kv_len].map(|n| n as usize);
    let (name, given) = (tensor.name, tensor.shape);
    let fits = given.len() == 4
        && (given[..3].iter().zip(sizes)).all(|(&n, size)| n == size || n == 1)
        && given[3] == sizes[3];
    let [b, h, q, k] = sizes;
    ensure!(
        fits,
        "{name} has shape {given:?}, which does not broadcast; give [{b} or 1, {h} or 1, {q} or 1, {k}], \
         [B|1, Hq|1, Nq|1, Nk]"
    );
    let whole = Layout::heads_first(given[1] as u32, given[2] as u32, words);
    let stride = |axis: usize, stride| if given[axis] == 1 { 0 } else { stride };
    Ok(Layout {
        batch: stride(0, whole.batch),
        head: stride(1, whole.head),
        row: stride(2, whole.row),
        ..whole
    })
}

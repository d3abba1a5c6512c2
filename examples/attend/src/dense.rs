//! Tensors of a value for each pair, broadcast over axes of size 1.

use std::borrow::Cow;

use anyhow::{Result, bail, ensure};
use safetensors::tensor::Dtype;
use wgpu_attention::Shape;
use wgpu_attention::problem::{DenseMask, Layout, MAX_SCORE};

use crate::score::f32_bytes;
use crate::tensors::Tensor;

/// The bias as f32: as it lies in the file, or converted.
pub fn bias_bytes<'a>(tensor: &Tensor<'a>) -> Result<Cow<'a, [u8]>> {
    ensure!(
        !matches!(tensor.dtype, Dtype::BOOL | Dtype::U8 | Dtype::I8),
        "bias is of type {}; give it as the tensor mask (not 0 where visible), or as numbers, 0 where visible and -inf \
         where hidden",
        tensor.dtype
    );
    let values = tensor.numbers()?;
    let most = f64::from(MAX_SCORE);
    if let Some(n) = values.iter().position(|&x| x > most) {
        bail!(
            "bias[{n}] is {:e}; give numbers up to {most:e}, or -inf where a pair is to be hidden",
            values[n]
        );
    }
    f32_bytes(tensor)
}

/// A mask, packed to bits.
pub fn mask(tensor: &Tensor, shape: &Shape) -> Result<DenseMask> {
    ensure!(
        matches!(tensor.dtype, Dtype::BOOL | Dtype::U8),
        "mask is of type {}; give BOOL or U8, not 0 where a query sees a key, or add its numbers as the tensor bias",
        tensor.dtype
    );
    fits(tensor, shape)?;
    let sizes = [0, 1, 2].map(|axis| tensor.shape[axis] as u32);
    let visible: Vec<bool> = tensor.bytes.iter().map(|&byte| byte != 0).collect();
    Ok(DenseMask::from_bools(sizes, shape.kv_len, &visible)?)
}

/// Where the rows of a bias begin: 0 steps along what is broadcast.
pub fn layout(tensor: &Tensor, shape: &Shape) -> Result<Layout> {
    fits(tensor, shape)?;
    let given = tensor.shape;
    let whole = Layout::heads_first(given[1] as u32, given[2] as u32, shape.kv_len);
    let stride = |axis: usize, stride| if given[axis] == 1 { 0 } else { stride };
    Ok(Layout {
        batch: stride(0, whole.batch),
        head: stride(1, whole.head),
        row: stride(2, whole.row),
        ..whole
    })
}

/// Whether a tensor is `[B|1, Hq|1, Nq|1, Nk]`.
fn fits(tensor: &Tensor, shape: &Shape) -> Result<()> {
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
    Ok(())
}

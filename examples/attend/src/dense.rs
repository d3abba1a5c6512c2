//! Tensors of a value for each pair, broadcast over axes of size 1.

use std::borrow::Cow;

use anyhow::{Result, bail, ensure};
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use wgpu_attention::problem::{DenseMask, Layout, MAX_SCORE};
use wgpu_attention::{Element, Shape};

use crate::score::f32_bytes;
use crate::tensors::Tensor;

/// How the bias is uploaded: as it lies in the file, or whole numbers as f32.
pub fn bias_element(tensor: &Tensor) -> Element {
    match tensor.dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        _ => Element::F32,
    }
}

/// The bias as [`bias_element`] says.
pub fn bias_bytes<'a>(tensor: &Tensor<'a>) -> Result<Cow<'a, [u8]>> {
    ensure!(
        !matches!(tensor.dtype, Dtype::BOOL | Dtype::U8 | Dtype::I8),
        "bias is of type {}; give it as the tensor mask (not 0 where visible), or as numbers, 0 where visible and -inf \
         where hidden",
        tensor.dtype
    );
    let values = bias_numbers(tensor)?;
    let most = f64::from(MAX_SCORE);
    if let Some(n) = values.iter().position(|&x| x > most) {
        bail!(
            "bias[{n}] is {:e}; give numbers up to {most:e}, or -inf where a pair is to be hidden",
            values[n]
        );
    }
    match bias_element(tensor) {
        Element::F32 => f32_bytes(tensor),
        _ => Ok(Cow::Borrowed(tensor.bytes)),
    }
}

fn bias_numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    let halves = tensor.bytes.chunks_exact(2).map(|x| [x[0], x[1]]);
    match bias_element(tensor) {
        Element::F32 => tensor.numbers(),
        Element::F16 => Ok(halves.map(|x| f16::from_le_bytes(x).to_f64()).collect()),
        Element::BF16 => Ok(halves.map(|x| bf16::from_le_bytes(x).to_f64()).collect()),
        element => bail!("a bias of {element} is none that a file has"),
    }
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

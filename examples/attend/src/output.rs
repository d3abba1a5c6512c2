//! Writing what was computed.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use wgpu_attention::Role;
use wgpu_attention::{Element, Problem};

use crate::partial;

/// A tensor that a run makes.
pub struct Tensor {
    pub name: &'static str,
    pub role: Role,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// `o` `[B, Hq, Nq, Dv]` and `lse` `[B, Hq, Nq]` (F32), and the largest scores where they are asked for.
pub fn forward(problem: &Problem) -> Vec<Tensor> {
    let [batch, heads, rows] = problem.q_sizes();
    let o = [batch, heads, rows, problem.shape.value_dim];
    let mut tensors = vec![
        Tensor::new(Role::O, problem.o.element, sizes(&o)),
        Tensor::new(Role::Lse, Element::F32, sizes(&o[..3])),
    ];
    if problem.max_score.is_some() {
        tensors.push(Tensor::new(Role::MaxScore, Element::F32, sizes(&o[..3])));
        let heads = sizes(&[problem.shape.q_heads]);
        tensors.push(Tensor::new(Role::MaxScorePerHead, Element::F32, heads));
    }
    tensors
}

pub fn sizes(sizes: &[u32]) -> Vec<usize> {
    sizes.iter().map(|&n| n as usize).collect()
}

impl Tensor {
    pub fn new(role: Role, element: Element, shape: Vec<usize>) -> Self {
        Self {
            name: role.name(),
            role,
            dtype: dtype(element),
            shape,
        }
    }

    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes tensors with their bytes to a new file, which takes the place of an old one only when it is whole.
pub fn write(path: &Path, tensors: &[(Tensor, Vec<u8>)]) -> Result<()> {
    let views = tensors
        .iter()
        .map(|(tensor, bytes)| Ok((tensor.name, view(tensor, bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    // The error's text holds that of its source, so the chain ends here.
    let save = |file: &Path| serialize_to_file(views, None, file).map_err(|e| anyhow!("{e}"));
    partial::write(path, save).with_context(|| refusal(path))
}

/// Refuses a path that cannot be written, before anything is computed.
pub fn check(path: &Path) -> Result<()> {
    partial::check(path).with_context(|| refusal(path))
}

fn refusal(path: &Path) -> String {
    format!("{} cannot be written, check the path", path.display())
}

/// Buffers are whole words of at least one, so there may be more bytes than the tensor has.
fn view<'a>(tensor: &Tensor, bytes: &'a [u8]) -> Result<TensorView<'a>> {
    let bytes = bytes
        .get(..tensor.bytes())
        .context("the device gave too few bytes; please report this")?;
    Ok(TensorView::new(tensor.dtype, tensor.shape.clone(), bytes)?)
}

fn dtype(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::BF16 => Dtype::BF16,
        // Of rows that hold scales, which no output does.
        Element::Int8 | Element::Int4 => Dtype::U8,
        _ => unreachable!("no output is {element}"),
    }
}

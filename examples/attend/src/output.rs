//! Writing what was computed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use wgpu_attention::Role;
use wgpu_attention::{Element, Problem};

/// A tensor that a run makes.
pub struct Tensor {
    pub name: &'static str,
    pub role: Role,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// `o` `[B, Hq, Nq, Dv]` and `lse` `[B, Hq, Nq]` (F32).
pub fn forward(problem: &Problem) -> Vec<Tensor> {
    let s = &problem.shape;
    let o = [s.batch, s.q_heads, s.q_len, s.value_dim];
    vec![
        Tensor::new(Role::O, problem.o.element, sizes(&o)),
        Tensor::new(Role::Lse, Element::F32, sizes(&o[..3])),
    ]
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
    replace(path, save)
        .with_context(|| format!("{} cannot be written, check the path", path.display()))
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
    }
}

/// Lets `write` make a file beside `path`, then gives it that name.
fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // Where `path` is a link, the file behind it is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    ensure!(!path.is_dir(), "it is a directory");
    if path.exists() && !path.is_file() {
        return write(&path); // a device or a pipe
    }
    let name = path
        .file_name()
        .context("it names no file")?
        .to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let written = write(&partial).and_then(|()| Ok(fs::rename(&partial, &path)?));
    if written.is_err() {
        // Not there if it could not be made; the first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

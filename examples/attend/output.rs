//! Writing o and lse.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use wgpu_attention::{Element, Outputs, Problem};

/// Writes `o` `[B, Hq, Nq, Dv]` and `lse` `[B, Hq, Nq]` (F32) to a new file, which takes the place of an old one only
/// when it is whole.
pub fn write(path: &Path, problem: &Problem, outputs: &Outputs) -> Result<()> {
    let s = &problem.shape;
    let rows = [s.batch, s.q_heads, s.q_len].map(|n| n as usize).to_vec();
    let mut o_shape = rows.clone();
    o_shape.push(s.value_dim as usize);
    let tensors = [
        ("o", view(dtype(problem.o.element), o_shape, &outputs.o)?),
        (
            "lse",
            view(Dtype::F32, rows, bytemuck::cast_slice(&outputs.lse))?,
        ),
    ];
    // The error's text holds that of its source, so the chain ends here.
    let save = |file: &Path| serialize_to_file(tensors, None, file).map_err(|e| anyhow!("{e}"));
    replace(path, save)
        .with_context(|| format!("{} cannot be written, check the path", path.display()))
}

/// Buffers are whole words of at least one, so there may be more bytes than the tensor has.
fn view(dtype: Dtype, shape: Vec<usize>, bytes: &[u8]) -> Result<TensorView<'_>> {
    let size = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    let bytes = bytes
        .get(..size)
        .context("the device gave too few bytes; please report this")?;
    Ok(TensorView::new(dtype, shape, bytes)?)
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

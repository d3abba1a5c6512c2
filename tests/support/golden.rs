//! Answers that were computed elsewhere: safetensors files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors};
use wgpu_attention::problem::Element;

use super::tensor::decode;

/// One file of tensors.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// A file, named relative to the crate's root.
    pub fn open(path: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        SafeTensors::deserialize(&bytes).with_context(|| path.display().to_string())?;
        Ok(Self { path, bytes })
    }

    /// The values of a tensor of floats.
    pub fn floats(&self, name: &str) -> Result<Vec<f64>> {
        self.read(name, |dtype, data| {
            let element = match dtype {
                Dtype::F32 => Element::F32,
                Dtype::F16 => Element::F16,
                Dtype::BF16 => Element::BF16,
                other => bail!("tensor {name} is {other:?}, not floats"),
            };
            Ok(decode(element, data))
        })
    }

    /// The values of a tensor of I32.
    pub fn integers(&self, name: &str) -> Result<Vec<i32>> {
        self.read(name, |dtype, data| match dtype {
            Dtype::I32 => Ok(data
                .chunks_exact(4)
                .map(|at| i32::from_le_bytes([at[0], at[1], at[2], at[3]]))
                .collect()),
            other => bail!("tensor {name} is {other:?}, not I32"),
        })
    }

    /// The values of a tensor of U8.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        self.read(name, |dtype, data| match dtype {
            Dtype::U8 => Ok(data.to_vec()),
            other => bail!("tensor {name} is {other:?}, not U8"),
        })
    }

    /// The sizes of a tensor of four axes.
    pub fn sizes(&self, name: &str) -> Result<[u32; 4]> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let sizes: Vec<u32> = file
            .tensor(name)?
            .shape()
            .iter()
            .map(|&n| n as u32)
            .collect();
        sizes
            .try_into()
            .ok()
            .with_context(|| format!("{name} of {} does not have four axes", self.path.display()))
    }

    fn read<T>(&self, name: &str, decode: impl Fn(Dtype, &[u8]) -> Result<T>) -> Result<T> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let tensor = file
            .tensor(name)
            .with_context(|| format!("{name} of {}", self.path.display()))?;
        decode(tensor.dtype(), tensor.data())
    }
}

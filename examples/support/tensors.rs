//! Reading a safetensors file. Each example uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use safetensors::tensor::{Dtype, Metadata};
use safetensors::{SafeTensorError, SafeTensors};

/// A file in memory with its parsed header.
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: Metadata,
    /// Where the data begins.
    data: usize,
}

/// One tensor of a file.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl TensorFile {
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|e| anyhow!("{} cannot be read: {e}; check the path", path.display()))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| not_safetensors(path, &e))?;
        let data = size_of::<u64>() + header;
        Ok(Self {
            path: path.into(),
            bytes,
            metadata,
            data,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.metadata.tensors().into_keys().collect();
        names.sort();
        names
    }

    pub fn get<'a>(&'a self, name: &'a str) -> Option<Tensor<'a>> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        Some(Tensor {
            name,
            dtype: info.dtype,
            shape: &info.shape,
            bytes: &self.bytes[self.data + start..self.data + end],
        })
    }

    /// A tensor that must be there.
    pub fn expect<'a>(&'a self, name: &'a str) -> Result<Tensor<'a>> {
        self.get(name).with_context(|| {
            format!(
                "{} has no tensor {name}; add it, the file must hold q, k and v",
                self.path.display()
            )
        })
    }
}

fn not_safetensors(path: &Path, error: &SafeTensorError) -> anyhow::Error {
    let way_out = match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            "it looks truncated, so write or copy it again"
        }
        _ => "give a file that a safetensors library wrote",
    };
    anyhow!(
        "{} is not a valid safetensors file: {error}; {way_out}",
        path.display()
    )
}

impl Tensor<'_> {
    /// The numbers of an F32 or I32 tensor (both are exact in f64).
    pub fn numbers(&self) -> Result<Vec<f64>> {
        let words = self
            .bytes
            .chunks_exact(4)
            .map(|word| [word[0], word[1], word[2], word[3]]);
        match self.dtype {
            Dtype::F32 => Ok(words
                .map(|word| f64::from(f32::from_le_bytes(word)))
                .collect()),
            Dtype::I32 => Ok(words
                .map(|word| f64::from(i32::from_le_bytes(word)))
                .collect()),
            other => bail!("{} is of type {other}; give F32 or I32", self.name),
        }
    }
}

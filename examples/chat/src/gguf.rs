//! The file format GGUF, version 3 (and 2, which reads the same): metadata, then tensors.
//!
//! Source: the format's specification, `docs/gguf.md` of ggml. Numbers are little-endian, strings and lists have their
//! length before them as u64, tensors are padded to `general.alignment` bytes and name their axes innermost first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::blocks::Blocks;

/// Where tensors begin is a multiple of this, unless the file says another.
const ALIGNMENT: u64 = 32;
/// A list within lists within lists is nothing that a model has.
const DEPTH: u32 = 3;

/// A number, a text or a list of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Whole(i64),
    Real(f64),
    Flag(bool),
    Text(String),
    List(Vec<Value>),
}

/// A tensor as the file lists it.
#[derive(Clone, Debug)]
struct Entry {
    /// Innermost first, as in the file.
    axes: Vec<u64>,
    kind: u32,
    at: u64,
}

/// A file, read and listed.
pub struct Gguf {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Entry>,
    /// Where tensors begin.
    data: u64,
}

impl Gguf {
    /// Reads a file whole.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| format!("the model {} cannot be read", path.display()))?;
        Self::parse(path, bytes)
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let mut reader = Reader {
            bytes: &bytes,
            at: 0,
        };
        let listed = reader.header();
        let (metadata, tensors) = listed.with_context(|| path.display().to_string())?;
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Whole(n)) if *n > 0 => *n as u64,
            _ => ALIGNMENT,
        };
        let data = (reader.at as u64).next_multiple_of(alignment);
        Ok(Self {
            path: path.into(),
            metadata,
            tensors,
            data,
            bytes,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a file that is not the one with this SHA-256.
    pub fn check_hash(&self, wanted: &str) -> Result<()> {
        let hash = hmac_sha256::Hash::hash(&self.bytes);
        let actual: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.path.display();
        ensure!(
            actual.eq_ignore_ascii_case(wanted),
            "{path} has the SHA-256 {actual} and not {wanted}; remove it and fetch it again"
        );
        Ok(())
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A whole number from 1 to 2³¹ − 1.
    pub fn count(&self, key: &str) -> Result<usize> {
        match self.get(key) {
            Some(Value::Whole(n)) if (1..=i64::from(i32::MAX)).contains(n) => Ok(*n as usize),
            other => self.refuse(key, other, "a whole number from 1 to 2147483647"),
        }
    }

    pub fn real(&self, key: &str) -> Result<f64> {
        match self.get(key) {
            Some(Value::Real(x)) if x.is_finite() => Ok(*x),
            other => self.refuse(key, other, "a finite number"),
        }
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        match self.get(key) {
            Some(Value::Text(text)) => Ok(text),
            other => self.refuse(key, other, "a text"),
        }
    }

    pub fn list(&self, key: &str) -> Result<&[Value]> {
        match self.get(key) {
            Some(Value::List(list)) => Ok(list),
            other => self.refuse(key, other, "a list"),
        }
    }

    fn refuse<T>(&self, key: &str, actual: Option<&Value>, wanted: &str) -> Result<T> {
        let path = self.path.display();
        match actual {
            None => bail!("{path} has no metadata {key}; give a SmolLM2 model with its tokenizer"),
            Some(value) => bail!("{path}: {key} is {}; {wanted} is wanted", value.short()),
        }
    }

    /// The numbers of a tensor of these axes, outermost first.
    pub fn tensor(&self, name: &str, axes: &[usize]) -> Result<Vec<f32>> {
        let path = self.path.display();
        let Some(entry) = self.tensors.get(name) else {
            bail!("{path} has no tensor {name}; give a SmolLM2 model");
        };
        let wanted: Vec<u64> = axes.iter().rev().map(|&n| n as u64).collect();
        ensure!(
            entry.axes == wanted,
            "{path}: {name} has axes {:?}, innermost first, and its metadata ask for {wanted:?}; give a whole model",
            entry.axes
        );
        let blocks = Blocks::of(entry.kind).with_context(|| format!("{path}: {name}"))?;
        let count: usize = axes.iter().product();
        let size = blocks
            .bytes(count)
            .with_context(|| format!("{path}: {name}"))?;
        let start = self.data.saturating_add(entry.at);
        let end = start.saturating_add(size as u64);
        ensure!(
            end <= self.bytes.len() as u64,
            "{path} is truncated: {name} ends at byte {end} and the file at {}; fetch it again",
            self.bytes.len()
        );
        Ok(blocks.numbers(&self.bytes[start as usize..end as usize]))
    }
}

impl Value {
    /// As an error shows it.
    fn short(&self) -> String {
        match self {
            Self::List(list) => format!("a list of {}", list.len()),
            Self::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            other => format!("{other:?}"),
        }
    }
}

type Listed = (BTreeMap<String, Value>, BTreeMap<String, Entry>);

/// What is read front to back.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<Listed> {
        let magic = self.bytes.get(..4).unwrap_or_default();
        ensure!(
            magic == b"GGUF",
            "it begins with {magic:?} and not with GGUF; give a model in GGUF format"
        );
        self.at = 4;
        let version = self.u32()?;
        ensure!(
            (2..=3).contains(&version),
            "its GGUF version is {version}; 2 and 3 are read"
        );
        let (tensors, metadata) = (self.u64()?, self.u64()?);
        let metadata = (0..metadata).map(|_| self.pair()).collect::<Result<_>>()?;
        let tensors = (0..tensors).map(|_| self.entry()).collect::<Result<_>>()?;
        Ok((metadata, tensors))
    }

    fn pair(&mut self) -> Result<(String, Value)> {
        let key = self.string()?;
        let kind = self.u32()?;
        let value = self.value(kind, DEPTH).with_context(|| key.clone())?;
        Ok((key, value))
    }

    fn entry(&mut self) -> Result<(String, Entry)> {
        let name = self.string()?;
        let axes = self.u32()?;
        ensure!(axes <= 4, "{name} has {axes} axes; up to 4 are read");
        let axes = (0..axes).map(|_| self.u64()).collect::<Result<_>>()?;
        let (kind, at) = (self.u32()?, self.u64()?);
        Ok((name, Entry { axes, kind, at }))
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Whole(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Whole(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Whole(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Whole(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Whole(self.u32()?.into()),
            5 => Value::Whole(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Real(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Flag(self.array::<1>()? != [0]),
            8 => Value::Text(self.string()?),
            9 if depth > 0 => Value::List(self.list(depth - 1)?),
            10 => Value::Whole(i64::try_from(self.u64()?).context("a number past 2⁶³")?),
            11 => Value::Whole(i64::from_le_bytes(self.array()?)),
            12 => Value::Real(f64::from_le_bytes(self.array()?)),
            other => bail!("metadata of the unknown type {other}; give a whole GGUF file"),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Value>> {
        let kind = self.u32()?;
        let count = self.u64()?;
        (0..count).map(|_| self.value(kind, depth)).collect()
    }

    fn string(&mut self) -> Result<String> {
        let len = self.u64()?;
        let bytes = self.take(len)?.to_vec();
        String::from_utf8(bytes).context("a text that is not UTF-8; fetch the file again")
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N as u64)?.try_into()?)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        ensure!(
            len <= left.len() as u64,
            "the file is truncated: {len} bytes are to stand at byte {} and it ends at {}; fetch it again",
            self.at,
            self.bytes.len()
        );
        self.at += len as usize;
        Ok(&left[..len as usize])
    }
}

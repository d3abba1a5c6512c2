//! From a file, or from sizes alone, to a problem and its operands.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::Dtype;
use wgpu_attention::Role;
use wgpu_attention::problem::{Lengths, MAX_LEN, Offsets, Prefix};
use wgpu_attention::{Element, Problem, Shape};

use crate::cli::{Args, NotSupported};
use crate::dense;
use crate::hints;
use crate::ragged;
use crate::random;
use crate::score;
use crate::sparse;
use crate::tensors::{Tensor, TensorFile};

/// Tensors that are read.
const READ: &[&str] = &[
    "q",
    "k",
    "v",
    "kv_lens",
    "q_offset",
    "prefix",
    "bias",
    "slopes",
    "sinks",
    "t5",
    "q_positions",
    "k_positions",
    "mask",
    "blocks",
    "segments_q",
    "segments_k",
    "tree",
    "cu_seqlens_q",
    "cu_seqlens_k",
];
/// Tensors that an option reads: without `--grad` do and dlse change nothing, and mod_data needs `--mod`.
const OF_AN_OPTION: &[&str] = &["do", "dlse", "mod_data"];
/// Tensors that are recognised and refused.
const LATER: &[&str] = &["router"];

/// What is to be attended to.
pub struct Input {
    problem: Problem,
    source: Source,
}

enum Source {
    File(TensorFile),
    Random { seed: u64 },
}

impl Input {
    /// The input that the command line names.
    pub fn of(args: &Args) -> Result<Self> {
        if let Some(shape) = args.random {
            let problem = Problem::new(shape, args.element.into());
            return Ok(Self {
                problem,
                source: Source::Random { seed: args.seed },
            });
        }
        let path = args.input.as_deref().context("no input file is given")?;
        let file = TensorFile::read(path)?;
        check_names(&file)?;
        Ok(Self {
            problem: problem(&file, args)?,
            source: Source::File(file),
        })
    }

    /// Sizes, elements and what stands in the file; nothing of the options.
    pub fn problem(&self) -> Problem {
        self.problem.clone()
    }

    /// The bytes of q, k, v and the bias. Random ones are made here, after the plan has found the sizes to be
    /// possible.
    pub fn operands(&self) -> Result<Vec<(Role, Cow<'_, [u8]>)>> {
        let qkv = match &self.source {
            Source::File(file) => {
                let bytes = |name| anyhow::Ok(Cow::Borrowed(file.expect(name)?.bytes));
                [bytes("q")?, bytes("k")?, bytes("v")?]
            }
            Source::Random { seed } => {
                let (shape, element) = (&self.problem.shape, self.problem.q.element);
                random::operands(shape, element, *seed).map(Cow::Owned)
            }
        };
        let mut operands: Vec<_> = [Role::Q, Role::K, Role::V].into_iter().zip(qkv).collect();
        if let Source::File(file) = &self.source
            && let Some(bias) = file.get("bias")
        {
            operands.push((Role::Bias, dense::bias_bytes(&bias)?));
        }
        Ok(operands)
    }

    /// An optional tensor of the file.
    pub fn tensor<'a>(&'a self, name: &'a str) -> Option<Tensor<'a>> {
        match &self.source {
            Source::File(file) => file.get(name),
            Source::Random { .. } => None,
        }
    }

    /// The seed of random operands; `None` for a file.
    pub fn seed(&self) -> Option<u64> {
        match self.source {
            Source::File(_) => None,
            Source::Random { seed } => Some(seed),
        }
    }
}

fn check_names(file: &TensorFile) -> Result<()> {
    for name in file.names() {
        let is_in = |list: &[&str]| list.contains(&name.as_str());
        if is_in(LATER) {
            return Err(NotSupported(format!("tensor {name}")).into());
        }
        if !is_in(READ) && !is_in(OF_AN_OPTION) {
            let path = file.path().display();
            bail!(
                "{path} has an unknown tensor {name}; {}",
                hints::unknown(&name)
            );
        }
    }
    Ok(())
}

fn problem(file: &TensorFile, args: &Args) -> Result<Problem> {
    let [q, k, v] = [file.expect("q")?, file.expect("k")?, file.expect("v")?];
    let shape = shape(&q, &k, &v)?;
    let problem = Problem::new(shape, common_element(&q, &k, &v)?);
    let mut problem = ragged::configure(problem, file)?;
    let shape = problem.shape;
    let batches =
        |file, name, allowed| integers(file, name, "value per batch", &[shape.batch], allowed);
    if let Some(lens) = batches(file, "kv_lens", 0..=shape.kv_len.into())? {
        problem.mask.kv_lens = Lengths::Host(lens.into_iter().map(|x| x as u32).collect());
    }
    let reach = i64::from(MAX_LEN);
    if let Some(offsets) = batches(file, "q_offset", -reach..=reach)? {
        problem.mask.q_offset = Offsets::Host(offsets.into_iter().map(|x| x as i32).collect());
    }
    if let Some(prefixes) = batches(file, "prefix", 0..=u32::MAX.into())? {
        problem.mask.prefix = Prefix::Host(prefixes.into_iter().map(|x| x as u32).collect());
    }
    score::configure(&mut problem, file, &args.positions)?;
    sparse::configure(
        &mut problem,
        file,
        args.block_size,
        args.select.top_k.is_some(),
    )?;
    Ok(problem)
}

fn shape(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Shape> {
    let [batch, q_heads, q_len, head_dim] = axes(q, "[B, Hq, Nq, D]")?;
    let [k_batch, kv_heads, kv_len, k_dim] = axes(k, "[B, Hkv, Nk, D]")?;
    let [v_batch, v_heads, v_len, value_dim] = axes(v, "[B, Hkv, Nk, Dv]")?;
    agree("batches B", ("k", k_batch), ("q", batch))?;
    agree("batches B", ("v", v_batch), ("q", batch))?;
    agree("channels D", ("k", k_dim), ("q", head_dim))?;
    agree("heads Hkv", ("v", v_heads), ("k", kv_heads))?;
    agree("keys Nk", ("v", v_len), ("k", kv_len))?;
    Ok(Shape {
        batch,
        q_heads,
        kv_heads,
        q_len,
        kv_len,
        head_dim,
        value_dim,
    })
}

fn axes(tensor: &Tensor, wanted: &str) -> Result<[u32; 4]> {
    let (name, shape) = (tensor.name, tensor.shape);
    let Ok(sizes) = <[usize; 4]>::try_from(shape) else {
        bail!(
            "{name} has shape {shape:?} of {} axes; give it four, {wanted}",
            shape.len()
        );
    };
    ensure!(
        sizes.iter().all(|&n| n <= u32::MAX as usize),
        "{name} has shape {shape:?}; give sizes below 2^32"
    );
    Ok(sizes.map(|n| n as u32))
}

fn agree(what: &str, (name, actual): (&str, u32), (other, expected): (&str, u32)) -> Result<()> {
    ensure!(
        actual == expected,
        "{name} has {actual} {what} but {other} has {expected}; give tensors of equal {what}"
    );
    Ok(())
}

fn common_element(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Element> {
    let elements = [element(q)?, element(k)?, element(v)?];
    ensure!(
        elements[1..].iter().all(|x| *x == elements[0]),
        "q, k and v are of the types {}, {} and {}; convert them to one type",
        q.dtype,
        k.dtype,
        v.dtype
    );
    Ok(elements[0])
}

pub fn element(tensor: &Tensor) -> Result<Element> {
    match tensor.dtype {
        Dtype::F32 => Ok(Element::F32),
        Dtype::F16 => Ok(Element::F16),
        Dtype::BF16 => Ok(Element::BF16),
        other => bail!(
            "{} is of type {other}; convert it to F32, F16 or BF16",
            tensor.name
        ),
    }
}

/// The whole numbers of an optional tensor of these sizes, one `each`, in a range.
pub fn integers(
    file: &TensorFile,
    name: &str,
    each: &str,
    sizes: &[u32],
    allowed: RangeInclusive<i64>,
) -> Result<Option<Vec<i64>>> {
    let Some(tensor) = file.get(name) else {
        return Ok(None);
    };
    ensure!(
        tensor
            .shape
            .iter()
            .copied()
            .eq(sizes.iter().map(|&n| n as usize)),
        "{name} has shape {:?}; give it one {each}, {sizes:?}",
        tensor.shape
    );
    let numbers = tensor.numbers()?;
    for (n, &number) in numbers.iter().enumerate() {
        ensure!(
            number.fract() == 0.0 && allowed.contains(&(number as i64)),
            "{name}[{n}] is {number}; give a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        );
    }
    Ok(Some(numbers.into_iter().map(|x| x as i64).collect()))
}

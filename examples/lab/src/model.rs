//! A tiny language model of bytes: what of GPT and Llama a context's length bears on, and no more.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var, safetensors};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal};

pub const LAYERS: usize = 4;
pub const HEADS: usize = 4;
pub const HEAD_DIM: usize = 32;
/// Bytes of context in training.
pub const TRAINED: usize = 256;
const WIDTH: usize = HEADS * HEAD_DIM;
const HIDDEN: usize = 4 * WIDTH;
const BYTES: usize = 256;
const EPSILON: f64 = 1e-5;

/// Names and shapes of the weights.
fn shapes() -> Vec<(String, Vec<usize>)> {
    let layer = |n: usize| {
        let named =
            |(name, shape): (&str, &[usize])| (format!("layers.{n}.{name}"), shape.to_vec());
        [
            ("attention_norm", &[WIDTH][..]),
            ("qkv", &[3 * WIDTH, WIDTH]),
            ("out", &[WIDTH, WIDTH]),
            ("mlp_norm", &[WIDTH]),
            ("up", &[HIDDEN, WIDTH]),
            ("down", &[WIDTH, HIDDEN]),
        ]
        .map(named)
    };
    let ends = [("embed", vec![BYTES, WIDTH]), ("norm", vec![WIDTH])];
    let ends = ends.map(|(name, shape)| (name.to_string(), shape));
    ends.into_iter()
        .chain((0..LAYERS).flat_map(layer))
        .collect()
}

/// o `[B, H, N, D]` of a layer's q, k and v, each `[B, H, N, D]` and not yet rotated.
pub type Attend<'a> = dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor> + 'a;

/// Weights by name.
pub struct Model {
    weights: Vec<(String, Var)>,
}

impl Model {
    /// Weights of 0.02 on average, those that add to the residual stream smaller by the root of how many do (GPT-2).
    pub fn new(seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut make = |name: &str, shape: &[usize]| -> Result<Var> {
            let count = shape.iter().product();
            if name.ends_with("norm") {
                return Ok(Var::ones(shape, DType::F32, &Device::Cpu)?);
            }
            let adds = name.ends_with("out") || name.ends_with("down");
            let width = if adds {
                0.02 / (2.0 * LAYERS as f64).sqrt()
            } else {
                0.02
            };
            let normal = Normal::new(0.0, width)?;
            let values: Vec<f32> = (0..count).map(|_| normal.sample(&mut rng) as f32).collect();
            Ok(Var::from_vec(values, shape, &Device::Cpu)?)
        };
        let made = shapes().into_iter().map(|(name, shape)| {
            let var = make(&name, &shape)?;
            Ok((name, var))
        });
        Ok(Self {
            weights: made.collect::<Result<_>>()?,
        })
    }

    /// Weights as [`Self::save`] left them.
    pub fn load(path: &Path) -> Result<Self> {
        let told = || format!("{} holds no weights of this model", path.display());
        let mut found = safetensors::load(path, &Device::Cpu).with_context(told)?;
        let read = shapes().into_iter().map(|(name, shape)| {
            let tensor = found
                .remove(&name)
                .with_context(|| format!("{}: {name} is missing", told()))?;
            ensure!(
                tensor.dims() == shape,
                "{}: {name} is {:?}, not {shape:?}",
                told(),
                tensor.dims()
            );
            Ok((name, Var::from_tensor(&tensor.to_dtype(DType::F32)?)?))
        });
        let weights = read.collect::<Result<_>>()?;
        if let Some(name) = found.keys().next() {
            anyhow::bail!("{}: {name} is unknown", told());
        }
        Ok(Self { weights })
    }

    /// Rounded to f16, for the file is a part of the program's sources.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_as(path, DType::F16)
    }

    pub fn save_as(&self, path: &Path, dtype: DType) -> Result<()> {
        let tensors = self.weights.iter().map(|(name, var)| {
            let tensor = var.as_tensor().to_dtype(dtype)?;
            Ok((name.clone(), tensor))
        });
        let tensors = tensors.collect::<Result<HashMap<_, _>>>()?;
        safetensors::save(&tensors, path)
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The same weights once more, which training may change.
    pub fn copied(&self) -> Result<Self> {
        let copy = |(name, var): &(String, Var)| {
            let tensor = var.as_tensor().copy()?;
            Ok((name.clone(), Var::from_tensor(&tensor)?))
        };
        Ok(Self {
            weights: self.weights.iter().map(copy).collect::<Result<_>>()?,
        })
    }

    /// What is learned.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.weights.iter().map(|(name, var)| (name.as_str(), var))
    }

    pub fn parameters(&self) -> usize {
        self.weights.iter().map(|(_, var)| var.elem_count()).sum()
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let found = self.weights.iter().find(|(known, _)| known == name);
        Ok(found
            .with_context(|| format!("no weight {name}"))?
            .1
            .as_tensor())
    }

    /// Logits `[B · N, 256]` of the byte after each of `bytes`, `[B, N]`.
    pub fn logits(&self, attend: &Attend<'_>, bytes: &Tensor) -> Result<Tensor> {
        let (b, n) = bytes.dims2()?;
        let embed = self.weight("embed")?;
        let mut x = embed.index_select(&bytes.flatten_all()?, 0)?;
        for layer in 0..LAYERS {
            let weight = |name: &str| self.weight(&format!("layers.{layer}.{name}"));
            let h = norm(&x, weight("attention_norm")?)?;
            let qkv = linear(&h, weight("qkv")?)?.reshape((b, n, 3, HEADS, HEAD_DIM))?;
            // `[3, B, H, N, D]`
            let qkv = qkv.permute((2, 0, 3, 1, 4))?;
            let [q, k, v] = [qkv.get(0)?, qkv.get(1)?, qkv.get(2)?];
            let o = attend(&q, &k, &v)?;
            let o = o.transpose(1, 2)?.reshape((b * n, WIDTH))?;
            x = (x + linear(&o, weight("out")?)?)?;
            let h = norm(&x, weight("mlp_norm")?)?;
            let h = linear(&h, weight("up")?)?.relu()?.sqr()?;
            x = (x + linear(&h, weight("down")?)?)?;
        }
        // The head is the embedding's transpose.
        Ok(linear(&norm(&x, self.weight("norm")?)?, embed)?)
    }
}

/// x·Wᵀ
fn linear(x: &Tensor, w: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&w.t()?)
}

/// x / √(mean x² + ε) · w (RMSNorm, arXiv 1910.07467).
fn norm(x: &Tensor, w: &Tensor) -> candle_core::Result<Tensor> {
    let squares = x.sqr()?.mean_keepdim(1)?;
    x.broadcast_div(&(squares + EPSILON)?.sqrt()?)?
        .broadcast_mul(w)
}

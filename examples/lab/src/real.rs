//! A pretrained model at long contexts: its attention in one call a layer and part of the text, under any scheme.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chat::cache::Cache;
use chat::config::Config;
use chat::gguf::Gguf;
use chat::model::{Model, Wanted};
use chat::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use wgpu_attention::problem::position::{RopeKind, Rotary, RotaryLayout, Yarn};
use wgpu_attention::problem::{Operand, Position};
use wgpu_attention::{Element, Host, Layout, Mask, Problem, Shape};

use crate::attention::Gpu;
use crate::effort::{Effort, tell};
use crate::kept::write_json;
use crate::text;

/// Tokens of a pass: the logits of more would not fit memory.
pub const PART: usize = 512;

/// A model and its tokenizer.
pub struct Real {
    pub name: String,
    pub model: Model,
    pub tokenizer: Tokenizer,
}

impl Real {
    pub fn read(path: &Path) -> Result<Self> {
        let file = Gguf::read(path)?;
        Ok(Self {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            model: Model::of(&file, |_, _| ())?,
            tokenizer: Tokenizer::of(&file)?,
        })
    }

    /// The rotation of a scheme for contexts of `len` tokens.
    fn rotary(&self, scheme: &str, len: usize) -> Result<Rotary> {
        let config = &self.model.config;
        let original = config.context as u32;
        let factor = (len as f64 / config.context as f64).max(1.0);
        let kind = match scheme {
            "none" => RopeKind::Default,
            "linear" => RopeKind::Linear { factor },
            "ntk" => RopeKind::NtkAware { factor },
            "dynamic-ntk" => RopeKind::Custom {
                inv_freq: self
                    .base()
                    .with_kind(RopeKind::DynamicNtk {
                        factor: 2.0,
                        original,
                    })
                    .inv_freq(len as u32)?,
                attention_factor: 1.0,
            },
            "yarn" => RopeKind::Yarn(Yarn::new(factor, original)),
            other => bail!("{other:?} is no scheme; give none, linear, ntk, dynamic-ntk or yarn"),
        };
        Ok(self.base().with_kind(kind))
    }

    fn base(&self) -> Rotary {
        let config = &self.model.config;
        Rotary::new(config.head_dim as u32)
            .with_base(config.rope_base)
            .with_layout(RotaryLayout::Interleaved)
    }

    /// Keys and values of nothing yet, to be read as `scheme` has it in a context of `len`.
    pub fn cache<'a>(&self, gpu: &'a Gpu, scheme: &str, len: usize) -> Result<Whole<'a>> {
        let config = self.model.config.clone();
        Ok(Whole {
            gpu,
            rotary: self.rotary(scheme, len)?,
            layers: vec![Default::default(); config.layers],
            config,
            len: 0,
            spent: Duration::ZERO,
        })
    }
}

/// What this model's tokens cost, measured on two parts of a text: what the second takes longer in attention is what the
/// context costs.
pub fn effort(gpu: &Gpu, real: &Real, tokens: &[u32]) -> Result<Effort> {
    let trial = tokens
        .get(..2 * PART)
        .with_context(|| format!("the text is shorter than {} tokens", 2 * PART))?;
    let read = || -> Result<[[f64; 2]; 2]> {
        let mut cache = real.cache(gpu, "none", trial.len())?;
        let mut times = [[0.0; 2]; 2];
        for (part, time) in trial.chunks(PART).zip(&mut times) {
            let (start, spent) = (Instant::now(), cache.spent());
            real.model.forward(part, &mut cache, Wanted::All)?;
            let attention = cache.spent() - spent;
            *time = [start.elapsed().as_secs_f64(), attention.as_secs_f64()];
        }
        Ok(times)
    };
    // The first time compiles kernels.
    read()?;
    let [[first, first_attention], [_, second_attention]] = read()?;
    // Each token of the second part has a part's keys more before it.
    let per_pair = (second_attention - first_attention).max(0.0) / (PART * PART) as f64;
    let pairs_of_first = (PART * PART / 2) as f64;
    Ok(Effort {
        plain: (first - per_pair * pairs_of_first).max(0.0) / PART as f64,
        // A token sees half of its context on average.
        attention: per_pair / 2.0,
    })
}

/// Keys, not rotated, and values of every layer in host memory, `[n, Hkv, D]`.
pub struct Whole<'a> {
    gpu: &'a Gpu,
    config: Config,
    rotary: Rotary,
    layers: Vec<[Vec<f32>; 2]>,
    len: usize,
    spent: Duration,
}

impl Cache for Whole<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn capacity(&self) -> Option<usize> {
        None
    }

    fn begin(&mut self, _: usize) -> Result<()> {
        self.truncate(self.len)
    }

    fn attend(&mut self, layer: usize, [q, k, v]: [&[f32]; 3]) -> Result<Vec<f32>> {
        let start = Instant::now();
        let [keys, values] = &mut self.layers[layer];
        keys.extend_from_slice(k);
        values.extend_from_slice(v);
        let [q_heads, kv_heads, dim] = [
            self.config.q_heads,
            self.config.kv_heads,
            self.config.head_dim,
        ]
        .map(|n| n as u32);
        let (q_len, kv_len) = (
            (q.len() / self.config.q_width()) as u32,
            (keys.len() / self.config.kv_width()) as u32,
        );
        let mut shape = Shape::square(1, q_heads, q_len, dim);
        (shape.kv_heads, shape.kv_len) = (kv_heads, kv_len);
        let rows = |heads, len| Operand::new(Element::F32, Layout::rows_first(heads, len, dim));
        let problem = Problem::new(shape, Element::F32)
            .with_mask(Mask::causal())
            .with_position(Position::rotary(self.rotary.clone()))
            .with_q(rows(q_heads, q_len))
            .with_k(rows(kv_heads, kv_len))
            .with_v(rows(kv_heads, kv_len))
            .with_o(rows(q_heads, q_len));
        let plan = self.gpu.attention.plan(&problem)?;
        let bytes = bytemuck::cast_slice::<f32, u8>;
        let host = Host::new(bytes(q), bytes(keys), bytes(values));
        let outputs = pollster::block_on(self.gpu.attention.run(&self.gpu.queue, &plan, &host))?;
        self.spent += start.elapsed();
        Ok(bytemuck::pod_collect_to_vec(&outputs.o))
    }

    fn end(&mut self, n: usize) {
        self.len += n;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.len = len;
        let numbers = len * self.config.kv_width();
        self.layers
            .iter_mut()
            .flatten()
            .for_each(|held| held.truncate(numbers));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let held = self.layers.iter().flatten();
        held.map(|held| size_of_val(&**held) as u64).sum()
    }

    fn spent(&self) -> Duration {
        self.spent
    }
}

/// One scheme at one context length.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub scheme: String,
    pub len: usize,
    /// Of a token, over the whole context and over its last quarter.
    pub perplexity: f64,
    pub last_quarter: f64,
    pub seconds: f64,
    /// Of these in attention.
    pub attention_seconds: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub model: String,
    pub adapter: String,
    pub rows: Vec<Row>,
}

/// What is not in the record at `path` yet is measured, one row after the other, each kept as soon as it is there.
pub fn perplexity(
    gpu: &Arc<Gpu>,
    real: &Real,
    lengths: &[usize],
    schemes: &[String],
    path: &Path,
) -> Result<Record> {
    let mut record = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; remove it to begin anew", path.display()))?,
        Err(_) => Record {
            model: real.name.clone(),
            adapter: gpu.name.clone(),
            rows: Vec::new(),
        },
    };
    ensure!(
        record.model == real.name,
        "{} is of {}; remove it, or give another --out",
        path.display(),
        record.model
    );
    let novel = String::from_utf8_lossy(&text::held_out()?).into_owned();
    let tokens = real.tokenizer.encode(&novel)?;
    // Each scheme is told before the first, so that a name which is none costs no wait.
    schemes
        .iter()
        .try_for_each(|scheme| real.rotary(scheme, 1).map(drop))?;
    let mut missing = Vec::new();
    for &len in lengths {
        ensure!(
            tokens.len() > len,
            "the text has {} tokens and a context of {len} needs {}; give shorter --lengths",
            tokens.len(),
            len + 1
        );
        // Within the trained context nothing is stretched.
        let differs = |scheme: &String| len > real.model.config.context || scheme == "none";
        let is_there = |scheme: &String| {
            let mut rows = record.rows.iter();
            rows.any(|row| row.scheme == *scheme && row.len == len)
        };
        let schemes = schemes.iter().filter(|x| differs(x) && !is_there(x));
        missing.extend(schemes.map(|scheme| (len, scheme)));
    }
    if !missing.is_empty() {
        let effort = effort(gpu, real, &tokens)?;
        let seconds = missing.iter().map(|&(len, _)| effort.seconds(len, len));
        tell(
            &format!("perplexity for a table of {}", missing.len()),
            seconds.sum(),
            &gpu.name,
            "each row is kept as it is done, and fewer --lengths or --schemes take less",
        );
    }
    for (len, scheme) in missing {
        record
            .rows
            .push(measured(gpu, real, scheme, &tokens[..=len])?);
        write_json(path, &record)?;
    }
    Ok(record)
}

fn measured(gpu: &Gpu, real: &Real, scheme: &str, tokens: &[u32]) -> Result<Row> {
    let len = tokens.len() - 1;
    let mut cache = real.cache(gpu, scheme, len)?;
    let bar = indicatif::ProgressBar::new(len as u64).with_message(format!("{scheme} at {len}"));
    bar.set_style(indicatif::ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} tokens, {msg}, {eta} left",
    )?);
    let start = Instant::now();
    let mut nats = Vec::with_capacity(len);
    for from in (0..len).step_by(PART) {
        let to = (from + PART).min(len);
        let logits = real
            .model
            .forward(&tokens[from..to], &mut cache, Wanted::All)?;
        let rows = logits.chunks_exact(real.model.config.vocabulary);
        nats.extend(
            rows.zip(&tokens[from + 1..])
                .map(|(row, &next)| surprise(row, next)),
        );
        bar.inc((to - from) as u64);
    }
    bar.finish_and_clear();
    let perplexity = |nats: &[f64]| (nats.iter().sum::<f64>() / nats.len().max(1) as f64).exp();
    Ok(Row {
        scheme: scheme.into(),
        len,
        perplexity: perplexity(&nats),
        last_quarter: perplexity(&nats[len - len.div_ceil(4)..]),
        seconds: start.elapsed().as_secs_f64(),
        attention_seconds: cache.spent().as_secs_f64(),
    })
}

/// −ln softmax(row)[next]
fn surprise(row: &[f32], next: u32) -> f64 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&x| f64::from(x - largest).exp()).sum();
    sum.ln() - f64::from(row[next as usize] - largest)
}

impl Record {
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:14}{:>8}{:>12}{:>14}{:>10}{:>12}\n",
            "", "tokens", "perplexity", "last quarter", "s", "attention"
        );
        for row in &self.rows {
            table += &format!(
                "{:14}{:>8}{:>12.2}{:>14.2}{:>10.0}{:>10.0} %\n",
                row.scheme,
                row.len,
                row.perplexity,
                row.last_quarter,
                row.seconds,
                100.0 * row.attention_seconds / row.seconds
            );
        }
        table + &format!("{} on {}\n", self.model, self.adapter)
    }
}

//! Attention and its cache by the library: keys and values stay on the device, a pass submits once per layer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wgpu_attention::problem::position::{Rotary, RotaryLayout};
use wgpu_attention::{CacheKind, Element, KvCache, KvCacheOptions, Sequence};

use crate::buffers::{Buffers, read};
use crate::cache::Cache;
use crate::calls::Calls;
use crate::config::Config;
use crate::device::Gpu;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage {
    pub kind: CacheKind,
    pub element: Element,
}

impl Storage {
    /// Contiguous f32 with room for a context.
    pub fn contiguous(tokens: usize) -> Self {
        let capacity = tokens as u32;
        Self {
            kind: CacheKind::Contiguous { capacity },
            element: Element::F32,
        }
    }

    /// As many pages of so many tokens as a context takes.
    pub fn paged(tokens: usize, page_len: u32) -> Self {
        let capacity = tokens as u32;
        let pages = capacity.div_ceil(page_len);
        Self {
            kind: CacheKind::Paged {
                page_len,
                pages,
                capacity,
            },
            element: Element::F32,
        }
    }

    /// The first tokens and the latest, however long the text (StreamingLLM, arXiv 2309.17453).
    pub fn stream(first: u32, window: u32) -> Self {
        Self {
            kind: CacheKind::Ring { first, window },
            element: Element::F32,
        }
    }

    pub fn with_element(self, element: Element) -> Self {
        Self { element, ..self }
    }

    /// Keys of a ring are rotated as they are read, by their place in it, so that no Hadamard rotation may come after.
    fn options(&self, config: &Config, longest: usize) -> KvCacheOptions {
        let rotated = !matches!(self.kind, CacheKind::Ring { .. });
        let rotary = Rotary::new(config.head_dim as u32)
            .with_base(config.rope_base)
            .with_layout(RotaryLayout::Interleaved);
        KvCacheOptions::new(self.kind, config.kv_heads as u32, config.head_dim as u32)
            .with_layers(config.layers as u32)
            .with_k(self.element)
            .with_v(self.element)
            .with_q_len(longest as u32)
            .with_rotary(Some(rotary))
            .with_rotated(rotated)
            .with_k_hadamard(rotated && self.element == Element::Int4)
    }
}

/// The library's cache with one sequence in it.
pub struct Library<'a> {
    gpu: &'a Gpu,
    cache: KvCache,
    sequence: Sequence,
    /// For passes of one token, of a draft, and of a part of a prompt: the shortest that is long enough is used.
    calls: Vec<Calls>,
    len: usize,
    /// Of the pass that has begun: its calls, its tokens, and what is recorded and not submitted.
    pass: Option<Pass>,
    spent: Duration,
}

struct Pass {
    calls: usize,
    encoder: Option<wgpu::CommandEncoder>,
}

impl<'a> Library<'a> {
    /// Takes memory, and prepares calls for passes of up to so many tokens each.
    pub fn new(gpu: &'a Gpu, config: &Config, storage: Storage, passes: &[usize]) -> Result<Self> {
        let mut passes = passes.to_vec();
        let room = match storage.kind {
            CacheKind::Contiguous { capacity } | CacheKind::Paged { capacity, .. } => capacity,
            _ => u32::MAX,
        };
        passes
            .iter_mut()
            .for_each(|n| *n = (*n).clamp(1, room as usize));
        passes.sort_unstable();
        passes.dedup();
        let longest = passes.last().copied().unwrap_or(1);
        let options = storage.options(config, longest);
        let mut cache = pollster::block_on(gpu.attention.kv_cache(&options))?;
        let sequence = cache.create()?;
        let calls = passes
            .iter()
            .map(|&n| Calls::prepare(gpu, config, &cache, n));
        Ok(Self {
            calls: calls.collect::<Result<_>>()?,
            gpu,
            cache,
            sequence,
            len: 0,
            pass: None,
            spent: Duration::ZERO,
        })
    }

    /// Writes what a layer's tokens brought, records all that is done with it, and waits for o.
    fn run(&mut self, layer: usize, [q, k, v]: [&[f32]; 3]) -> Result<Vec<f32>> {
        let pass = self.pass.as_mut().context("no pass has begun")?;
        let calls = &self.calls[pass.calls];
        let Buffers {
            q: to_q,
            k: to_k,
            v: to_v,
            o,
            back,
            ..
        } = &calls.buffers;
        for (buffer, rows) in [(to_q, q), (to_k, k), (to_v, v)] {
            self.gpu
                .queue
                .write_buffer(buffer, 0, bytemuck::cast_slice(rows));
        }
        let new = || self.gpu.device.create_command_encoder(&Default::default());
        let mut encoder = pass.encoder.take().unwrap_or_else(new);
        calls.layers[layer].append.encode(&mut encoder);
        calls.layers[layer].attend.encode(&mut encoder);
        let bytes = size_of_val(q) as u64;
        encoder.copy_buffer_to_buffer(o, 0, back, 0, bytes);
        self.gpu.queue.submit([encoder.finish()]);
        read(&self.gpu.device, back, bytes)
    }
}

impl Cache for Library<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn capacity(&self) -> Option<usize> {
        match self.cache.options().kind {
            CacheKind::Ring { .. } => None,
            _ => Some(self.cache.options().capacity() as usize),
        }
    }

    fn begin(&mut self, n: usize) -> Result<()> {
        // What a pass that failed half-way has left.
        self.cache.truncate(self.sequence, self.len as u32)?;
        let calls = self.calls.iter().position(|calls| calls.tokens >= n);
        let longest = self.calls.last().map_or(0, |calls| calls.tokens);
        let calls = calls.with_context(|| {
            format!("a pass of {n} tokens is asked for; give it at most {longest}")
        })?;
        let (len, room) = (self.len, self.capacity().unwrap_or(usize::MAX));
        ensure!(
            len + n <= room,
            "the context of {room} tokens is full: it holds {len} and {n} more are to be read; give --context more"
        );
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.cache
            .begin(&mut encoder, &[(self.sequence, n as u32)])?;
        let encoder = Some(encoder);
        self.pass = Some(Pass { calls, encoder });
        Ok(())
    }

    fn attend(&mut self, layer: usize, qkv: [&[f32]; 3]) -> Result<Vec<f32>> {
        let start = Instant::now();
        let o = self.run(layer, qkv)?;
        self.spent += start.elapsed();
        Ok(o)
    }

    fn end(&mut self, n: usize) {
        self.len += n;
        self.pass = None;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.cache.truncate(self.sequence, len as u32)?;
        self.len = len;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    fn spent(&self) -> Duration {
        self.spent
    }
}

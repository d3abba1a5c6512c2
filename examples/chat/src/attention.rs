//! Attention and its cache by the library: keys and values stay on the device, a pass submits once per layer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wgpu_attention::problem::position::{Rotary, RotaryLayout};
use wgpu_attention::problem::{Lengths, Offsets, Operand, Position, Positions};
use wgpu_attention::{Call, Element, Layout, Mask, Operands, Problem, Role, Rotation, Shape};

use crate::buffers::{Buffers, read};
use crate::cache::Cache;
use crate::config::Config;
use crate::device::Gpu;

/// Contiguous f32 keys and values with room for a context, `[capacity, Hkv, D]` per layer, keys rotated.
pub struct Contiguous<'a> {
    gpu: &'a Gpu,
    config: Config,
    capacity: usize,
    layers: Vec<[wgpu::Buffer; 2]>,
    /// By the number of tokens of a pass: shapes are planned and bound once.
    calls: BTreeMap<usize, Calls>,
    len: usize,
    spent: Duration,
}

/// What passes over a number of tokens need.
struct Calls {
    buffers: Buffers,
    rotate: Call,
    attend: Vec<Call>,
}

impl<'a> Contiguous<'a> {
    /// Takes memory for `capacity` tokens.
    pub fn new(gpu: &'a Gpu, config: &Config, capacity: usize) -> Result<Self> {
        let bytes = (capacity * config.kv_width() * 4) as u64;
        let limit = gpu.device.limits().max_storage_buffer_binding_size;
        ensure!(
            bytes <= limit,
            "a context of {capacity} tokens takes {bytes} bytes per layer and this device binds {limit}; give a smaller --context"
        );
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = |label| crate::buffers::buffer(&gpu.device, label, bytes, usage);
        Ok(Self {
            gpu,
            config: config.clone(),
            capacity,
            layers: (0..config.layers).map(|_| ["k", "v"].map(buffer)).collect(),
            calls: BTreeMap::new(),
            len: 0,
            spent: Duration::ZERO,
        })
    }

    fn rotary(&self) -> Rotary {
        Rotary::new(self.config.head_dim as u32)
            .with_base(self.config.rope_base)
            .with_layout(RotaryLayout::Interleaved)
    }

    fn range(&self) -> std::ops::RangeInclusive<i32> {
        0..=self.capacity as i32 - 1
    }

    /// `n` queries that stand anywhere in the context.
    fn problem(&self, n: usize) -> Problem {
        let config = &self.config;
        let [q_heads, kv_heads, dim] =
            [config.q_heads, config.kv_heads, config.head_dim].map(|n| n as u32);
        let (q_len, kv_len) = (n as u32, self.capacity as u32);
        let shape = Shape {
            batch: 1,
            q_heads,
            kv_heads,
            q_len,
            kv_len,
            head_dim: dim,
            value_dim: dim,
        };
        let mask = Mask::causal()
            .with_kv_lens(Lengths::Host(vec![kv_len]))
            .with_q_offset(Offsets::Host(vec![(kv_len - q_len) as i32]));
        let position = Position::rotary(self.rotary())
            .with_k_rotated(true)
            .with_q_positions(Positions::Device)
            .with_range(Some(self.range()));
        let rows = |heads, len| Operand::new(Element::F32, Layout::rows_first(heads, len, dim));
        let mut problem = Problem::new(shape, Element::F32)
            .with_mask(mask)
            .with_position(position);
        (problem.q, problem.o) = (rows(q_heads, q_len), rows(q_heads, q_len));
        (problem.k, problem.v) = (rows(kv_heads, kv_len), rows(kv_heads, kv_len));
        problem
    }

    fn prepare(&self, n: usize) -> Result<Calls> {
        let config = &self.config;
        let attention = &self.gpu.attention;
        let buffers = Buffers::new(&self.gpu.device, config, n);
        let sizes = [1, config.kv_heads as u32, n as u32];
        let mut rotation = Rotation::new(self.rotary(), sizes, Element::F32)
            .with_positions(Positions::Device)
            .with_range(Some(self.range()));
        rotation.rows.layout = Layout::rows_first(sizes[1], sizes[2], config.head_dim as u32);
        rotation.rotated = rotation.rows;
        let operands = Operands::rotation(&buffers.k, &buffers.k_rotated)
            .with(Role::QPositions, &buffers.positions);
        let plan = attention.plan_rotation(&rotation)?;
        let rotate = pollster::block_on(attention.prepare(&plan, &operands))?;
        let plan = attention.plan(&self.problem(n))?;
        let mut attend = Vec::with_capacity(self.layers.len());
        for [k, v] in &self.layers {
            let operands = Operands::new(&buffers.q, k, v, &buffers.o, &buffers.lse)
                .with(Role::QPositions, &buffers.positions);
            attend.push(pollster::block_on(attention.prepare(&plan, &operands))?);
        }
        Ok(Calls {
            buffers,
            rotate,
            attend,
        })
    }

    /// Writes what a layer's tokens brought, records all that is done with it, and waits for o.
    fn run(&mut self, layer: usize, [q, k, v]: [&[f32]; 3]) -> Result<Vec<f32>> {
        let (n, row) = (q.len() / self.config.q_width(), self.config.kv_width());
        let (start, queue) = (self.len, &self.gpu.queue);
        let at = (start * row * 4) as u64;
        let calls = self
            .calls
            .get_mut(&n)
            .context("a pass that did not begin")?;
        let [held_k, held_v] = &self.layers[layer];
        let buffers = &calls.buffers;
        queue.write_buffer(&buffers.q, 0, bytemuck::cast_slice(q));
        queue.write_buffer(&buffers.k, 0, bytemuck::cast_slice(k));
        queue.write_buffer(held_v, at, bytemuck::cast_slice(v));
        let call = &mut calls.attend[layer];
        call.set_kv_lens(&[(start + n) as u32])?;
        call.set_q_offset(&[start as i32])?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        calls.rotate.encode(&mut encoder);
        encoder.copy_buffer_to_buffer(&buffers.k_rotated, 0, held_k, at, (n * row * 4) as u64);
        call.encode(&mut encoder);
        encoder.copy_buffer_to_buffer(&buffers.o, 0, &buffers.back, 0, buffers.back.size());
        queue.submit([encoder.finish()]);
        read(&self.gpu.device, &buffers.back)
    }
}

impl Cache for Contiguous<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity)
    }

    fn begin(&mut self, n: usize) -> Result<()> {
        let (len, capacity) = (self.len, self.capacity);
        ensure!(
            len + n <= capacity,
            "the context of {capacity} tokens is full: it holds {len} and {n} more are to be read; give --context more"
        );
        if !self.calls.contains_key(&n) {
            let calls = self.prepare(n)?;
            self.calls.insert(n, calls);
        }
        let positions: Vec<i32> = (len..len + n).map(|at| at as i32).collect();
        let buffer = &self.calls[&n].buffers.positions;
        self.gpu
            .queue
            .write_buffer(buffer, 0, bytemuck::cast_slice(&positions));
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
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.len = self.len.min(len);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let buffers = self.layers.iter().flatten();
        buffers.map(wgpu::Buffer::size).sum()
    }

    fn spent(&self) -> Duration {
        self.spent
    }
}

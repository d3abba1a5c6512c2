//! The buffers between the CPU's products and the device's attention.

use std::sync::mpsc;

use anyhow::{Context, Result};
use wgpu::BufferUsages;

use crate::config::Config;

/// Those of a pass over `n` tokens, f32.
pub struct Buffers {
    /// `[n, Hq, D]`
    pub q: wgpu::Buffer,
    /// `[n, Hkv, D]`
    pub k: wgpu::Buffer,
    /// `[n, Hkv, D]`
    pub v: wgpu::Buffer,
    /// `[n, Hq, D]`
    pub o: wgpu::Buffer,
    /// `[Hq, n]`
    pub lse: wgpu::Buffer,
    /// o, for the CPU.
    pub back: wgpu::Buffer,
}

impl Buffers {
    pub fn new(device: &wgpu::Device, config: &Config, n: usize) -> Self {
        let kernels = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let host = BufferUsages::COPY_DST | BufferUsages::MAP_READ;
        let of = |label, numbers: usize, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: (numbers * 4) as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        let (q, kv) = (n * config.q_width(), n * config.kv_width());
        Self {
            q: of("q", q, kernels),
            k: of("k", kv, kernels),
            v: of("v", kv, kernels),
            o: of("o", q, kernels),
            lse: of("lse", n * config.q_heads, kernels),
            back: of("o, for the CPU", q, host),
        }
    }
}

/// The first bytes of a buffer, once all that was submitted is done. This program has nothing else to do meanwhile, so it
/// waits.
pub fn read(device: &wgpu::Device, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<f32>> {
    let (sender, mapped) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
        // The receiver waits below.
        let _ = sender.send(result);
    });
    device.poll(wgpu::PollType::wait_indefinitely())?;
    mapped.recv().context("the device is lost")??;
    let numbers = bytemuck::pod_collect_to_vec(&buffer.get_mapped_range(..bytes)?);
    buffer.unmap();
    Ok(numbers)
}

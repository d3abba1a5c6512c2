//! The buffers between the CPU's products and the device's attention.

use std::sync::mpsc;

use anyhow::{Context, Result};
use wgpu::BufferUsages;

use crate::config::Config;

/// Those of a pass over `n` tokens, f32.
pub struct Buffers {
    /// `[n, Hq, D]`
    pub q: wgpu::Buffer,
    /// `[n, Hkv, D]`, as projected.
    pub k: wgpu::Buffer,
    pub k_rotated: wgpu::Buffer,
    /// `[n, Hq, D]`
    pub o: wgpu::Buffer,
    pub lse: wgpu::Buffer,
    /// i32 `[n]`
    pub positions: wgpu::Buffer,
    /// o, for the CPU.
    pub back: wgpu::Buffer,
}

impl Buffers {
    pub fn new(device: &wgpu::Device, config: &Config, n: usize) -> Self {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let of = |label, numbers| buffer(device, label, (numbers * 4) as u64, usage);
        let (q, kv) = (n * config.q_width(), n * config.kv_width());
        let back = BufferUsages::COPY_DST | BufferUsages::MAP_READ;
        Self {
            q: of("q", q),
            k: of("k", kv),
            k_rotated: of("k, rotated", kv),
            o: of("o", q),
            lse: of("lse", n * config.q_heads),
            positions: of("positions", n),
            back: buffer(device, "o, for the CPU", (q * 4) as u64, back),
        }
    }
}

/// A buffer of so many bytes.
pub fn buffer(device: &wgpu::Device, label: &str, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// What a buffer holds once all that was submitted is done. This program has nothing else to do meanwhile, so it waits.
pub fn read(device: &wgpu::Device, buffer: &wgpu::Buffer) -> Result<Vec<f32>> {
    let (sender, mapped) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver waits below.
        let _ = sender.send(result);
    });
    device.poll(wgpu::PollType::wait_indefinitely())?;
    mapped.recv().context("the device is lost")??;
    let numbers = bytemuck::pod_collect_to_vec(&buffer.get_mapped_range(..)?);
    buffer.unmap();
    Ok(numbers)
}

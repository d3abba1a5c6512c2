//! Small values that are recorded into the caller's encoder: by copies from buffers that come back, mapped again, when
//! what was submitted is done.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers kept, at most: those of submissions that are in flight.
const MOST_KEPT: usize = 16;

/// Bytes of a buffer, at least.
const LEAST: u64 = 256;

/// A buffer, the first word there, and what goes there.
pub(super) type Run<'a> = (&'a wgpu::Buffer, u32, Vec<u32>);

/// Mapped buffers.
#[derive(Clone, Debug, Default)]
pub(super) struct Staging {
    mapped: Arc<Mutex<Vec<wgpu::Buffer>>>,
}

impl Staging {
    /// Records that `runs` of words go to their places.
    pub fn record(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        runs: &[Run<'_>],
    ) {
        let words: Vec<u32> = runs
            .iter()
            .flat_map(|(_, _, words)| words)
            .copied()
            .collect();
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let buffer = self.take(device, bytes.len() as u64);
        // On a lost device nothing is mapped, and nothing of what is recorded runs: the application would hear of copies
        // from a buffer that is none.
        let Ok(mut view) = buffer.get_mapped_range_mut(..) else {
            return;
        };
        view.slice(..bytes.len()).copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        let mut from = 0;
        for (to, at, words) in runs {
            let (at, size) = (u64::from(*at) * 4, words.len() as u64 * 4);
            encoder.copy_buffer_to_buffer(&buffer, from, to, at, size);
            from += size;
        }
        let (mapped, back) = (self.mapped.clone(), buffer.clone());
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Write, .., move |result| {
            if result.is_ok() {
                let mut mapped = mapped.lock().unwrap_or_else(PoisonError::into_inner);
                if mapped.len() < MOST_KEPT {
                    mapped.push(back);
                }
            }
        });
    }

    fn take(&self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = mapped.iter().position(|buffer| buffer.size() >= bytes);
        if let Some(n) = fits {
            return mapped.swap_remove(n);
        }
        drop(mapped);
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("attention values"),
            // Few sizes: one that held fewer words before serves again.
            size: bytes.next_power_of_two().max(LEAST),
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        })
    }
}

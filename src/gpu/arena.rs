//! Scratch buffers that calls hand back when they are dropped, for the calls that follow.
//!
//! A scratch buffer holds nothing from one call to the next, and a queue carries out one call's steps after another's, so a
//! buffer may serve the next call while the GPU still works on the last one's steps.

use std::sync::{Mutex, PoisonError};

use super::count::{Count, Counted};

/// Bytes of buffers that wait for a call, at most; what a call hands back beyond is freed.
const MOST_WAITING: u64 = 256 << 20;

/// Buffers that wait, the one that waits longest first.
#[derive(Debug, Default)]
pub(super) struct Arena {
    waiting: Mutex<Vec<wgpu::Buffer>>,
    /// Bytes that calls hold.
    taken: Count,
}

/// The buffers of a call.
#[derive(Debug)]
pub(super) struct Scratch {
    pub buffers: Vec<wgpu::Buffer>,
    _counted: Counted,
}

impl Arena {
    /// Buffers of these sizes.
    pub fn take(&self, device: &wgpu::Device, sizes: &[u64]) -> Scratch {
        let buffers = sizes.iter().map(|&size| self.take_one(device, size));
        let buffers: Vec<_> = buffers.collect();
        Scratch {
            _counted: self.taken.add(bytes(&buffers)),
            buffers,
        }
    }

    /// A buffer of `size` bytes at least, and less than twice as many: a waiting one where there is one.
    fn take_one(&self, device: &wgpu::Device, size: u64) -> wgpu::Buffer {
        let fits = |buffer: &wgpu::Buffer| (size..2 * size.max(1)).contains(&buffer.size());
        let mut waiting = self.lock();
        let best = (0..waiting.len())
            .filter(|&n| fits(&waiting[n]))
            .min_by_key(|&n| waiting[n].size());
        match best {
            Some(n) => waiting.remove(n),
            None => {
                drop(waiting);
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("attention scratch"),
                    size,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            }
        }
    }

    /// Keeps buffers for later calls, the latest ones where not all may stay.
    pub fn put(&self, buffers: impl IntoIterator<Item = wgpu::Buffer>) {
        let mut waiting = self.lock();
        waiting.extend(buffers);
        while bytes(&waiting) > MOST_WAITING {
            waiting.remove(0);
        }
    }

    /// Frees all that wait.
    pub fn trim(&self) {
        self.lock().clear();
    }

    /// Bytes that calls hold.
    pub fn taken_bytes(&self) -> u64 {
        self.taken.get()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> u64 {
        bytes(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<wgpu::Buffer>> {
        // The list is whole at every moment, so a panic elsewhere leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(buffers: &[wgpu::Buffer]) -> u64 {
    buffers.iter().map(wgpu::Buffer::size).sum()
}

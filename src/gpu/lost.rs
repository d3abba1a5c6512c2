//! Whether a device is lost: wgpu answers every call on a lost device in silence and tells the application's callback
//! alone, which a guest may not replace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};

/// Buffers that must refuse one after the other. One alone may: a poll on another thread that is mapping it just as the
/// mapping is given up leaves it mapped, and the next mapping is refused (seen once in 1700 calls beside a busy suite).
const TRIES: u32 = 3;

/// Natively a buffer of the library's own, which a lost device refuses to map. On the web a device may have any number of
/// listeners, and one of them is ours.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    buffer: Mutex<Option<wgpu::Buffer>>,
    lost: OnceLock<Arc<AtomicBool>>,
}

impl Liveness {
    /// Refuses a lost device.
    pub fn check(&self, device: &wgpu::Device) -> Result<()> {
        match self.is_lost(device) {
            true => Err(Error::DeviceLost),
            false => Ok(()),
        }
    }

    fn is_lost(&self, device: &wgpu::Device) -> bool {
        if cfg!(target_arch = "wasm32") {
            return self.is_told(device);
        }
        let guards = [
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Internal,
        ]
        .map(|filter| device.push_error_scope(filter));
        let refused = (0..TRIES).all(|_| self.refuses_to_map(device));
        for guard in guards.into_iter().rev() {
            // Natively what a scope has caught is there at once; here all of it means the same.
            drop(guard.pop());
        }
        refused
    }

    fn refuses_to_map(&self, device: &wgpu::Device) -> bool {
        // One mapping at a time; the state is whole at every moment, so a panic elsewhere does not spoil it.
        let mut own = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = own.get_or_insert_with(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("attention liveness"),
                size: 4,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let refused = Arc::new(AtomicBool::new(false));
        let answer = refused.clone();
        buffer.map_async(wgpu::MapMode::Read, .., move |mapped| {
            answer.store(mapped.is_err(), Ordering::Release);
        });
        // Read before the mapping is given up, which is another refusal.
        let refused = refused.load(Ordering::Acquire);
        buffer.unmap();
        if refused {
            *own = None;
        }
        refused
    }

    fn is_told(&self, device: &wgpu::Device) -> bool {
        let lost = self.lost.get_or_init(|| {
            let lost = Arc::<AtomicBool>::default();
            let told = lost.clone();
            device.set_device_lost_callback(move |_, _| told.store(true, Ordering::Release));
            lost
        });
        lost.load(Ordering::Acquire)
    }
}

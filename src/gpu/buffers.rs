//! Buffers of the library's own, and errors of the device caught.

use crate::error::{Error, Result};

/// A buffer with its contents, without a queue.
pub(crate) fn filled(
    device: &wgpu::Device,
    label: &str,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: (bytes.len() as u64).max(16).next_multiple_of(16),
        usage: usage | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: true,
    });
    // On a lost device nothing is mapped; the error scope around tells.
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.slice(..bytes.len()).copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}

/// Runs `make` with every error it causes on the device turned into ours.
pub(crate) async fn scoped<T>(
    device: &wgpu::Device,
    what: &str,
    make: impl FnOnce() -> T,
) -> Result<T> {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let made = make();
    // Popped at once, so that nothing of the caller's own falls in; the answers may come later.
    let (internal, memory, validation) = (internal.pop(), memory.pop(), validation.pop());
    let errors = [internal.await, memory.await, validation.await];
    match errors.into_iter().flatten().next() {
        Some(error) => Err(refused(what, error)),
        None => Ok(made),
    }
}

fn refused(what: &str, error: wgpu::Error) -> Error {
    let what = what.to_string();
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory {
            what,
            bytes: 0,
            way_out: "free what is kept (Attention::trim), or buffers of your own",
        },
        error => Error::Device {
            what,
            message: error.to_string(),
        },
    }
}

/// Refuses a destroyed buffer and a mapped one, with which nothing can be submitted. One whose mapping is under way is
/// not told from others.
pub(super) fn check_usable(what: &'static str, buffer: &wgpu::Buffer) -> Result<()> {
    const WORD: u64 = 4;
    if buffer.size() < WORD {
        return Ok(());
    }
    let message = match buffer.get_mapped_range(..WORD) {
        Ok(_) => "it is mapped".into(),
        // The only word of a buffer's end before it is submitted, and of that the only form.
        Err(error) if error.to_string().contains("destroyed") => error.to_string(),
        Err(_) => return Ok(()),
    };
    Err(Error::Buffer { what, message })
}

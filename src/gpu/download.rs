//! Bytes back from the device, without ever blocking.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;

use crate::error::{Error, Result};

use super::buffers::{check_usable, scoped};
use super::handles::check_queue;
use super::lost::Liveness;
use super::timer::wake_soon;

/// The contents of `buffer` (usage `COPY_SRC`), after all that was submitted before.
///
/// A queue or a buffer of another device is an error as far as wgpu tells: of a queue not while the device is busy, and
/// never of handles of another `wgpu::Instance`.
///
/// The future calls `device.poll(PollType::Poll)` when it is polled, never `Wait`; while it is pending a timer wakes
/// it. It may be dropped half-way, and ends with [`Error::DeviceLost`] on a lost device; [`Error::OutOfMemory`] where the
/// device has no room for the copy.
pub async fn download(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
) -> Result<Vec<u8>> {
    check_queue(device, queue)?;
    let bytes = copied(device, queue, buffer).await;
    if bytes.is_err() {
        Liveness::default().check(device)?;
    }
    bytes
}

async fn copied(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
) -> Result<Vec<u8>> {
    check_usable("the download", buffer)?;
    let (sender, mapped) = oneshot::channel();
    // A lost device makes an invalid buffer without a word; that it cannot be mapped tells.
    let staging = scoped(device, "downloading", || {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone when the future was dropped half-way; then nobody waits for this.
            let _ = sender.send(result);
        });
        staging
    })
    .await
    .map_err(|error| {
        error.allocating(
            buffer.size(),
            "copy a part of it into a smaller buffer, or free what is kept (Attention::trim)",
        )
    })?;
    Mapping {
        device: device.clone(),
        mapped,
    }
    .await?;
    let mapped = staging.get_mapped_range(..);
    Ok(mapped.map_err(|_| Error::DeviceLost)?.to_vec())
}

/// Waits until all that was submitted is done.
pub(super) async fn completed(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<()> {
    let (sender, mapped) = oneshot::channel();
    queue.on_submitted_work_done(move || {
        let _ = sender.send(Ok(()));
    });
    Mapping {
        device: device.clone(),
        mapped,
    }
    .await
}

/// Waits for a mapping without blocking.
pub(super) struct Mapping {
    pub device: wgpu::Device,
    pub mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Future for Mapping {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.device.poll(wgpu::PollType::Poll);
        match Pin::new(&mut self.mapped).poll(context) {
            Poll::Ready(Ok(Ok(()))) => return Poll::Ready(Ok(())),
            // The buffer is our own and good, so that only a lost device refuses it or drops the request.
            Poll::Ready(_) => return Poll::Ready(Err(Error::DeviceLost)),
            Poll::Pending => {}
        }
        if let Err(error) = polled {
            let message = error.to_string();
            return Poll::Ready(Err(Error::Download { message }));
        }
        wake_soon(context);
        Poll::Pending
    }
}

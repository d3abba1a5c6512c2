//! How long slices take on this device: timestamps where they are granted, else the time from recording to completion, as
//! far as the application's own polls tell it. Nothing here waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::Pace;

/// Kernels, and the seconds assumed of each.
type Work = Vec<(u64, f64)>;

/// Slots kept, at most: those of slices that are in flight.
const MOST_KEPT: usize = 16;
/// Browsers round timestamps; nothing takes less.
const LEAST: Duration = Duration::from_micros(20);

/// What slices took, and what was learned of it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pace: Mutex<Pace>,
    slots: Mutex<Vec<Slot>>,
    finished: Arc<Mutex<Vec<Finished>>>,
}

/// The timestamps of a slice.
#[derive(Debug)]
pub(super) struct Slot {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
}

/// A slice that is done.
#[derive(Debug)]
enum Finished {
    Stamped {
        slot: Slot,
        period: f32,
        work: Work,
    },
    // Where there is a clock.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    Took {
        time: Duration,
        work: Work,
    },
}

impl Slot {
    const BYTES: u64 = 16;

    fn new(device: &wgpu::Device) -> Self {
        let buffer = |label, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: Self::BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("attention slice"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(
                "attention timestamps",
                wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            ),
            readable: buffer(
                "attention times",
                wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            ),
        }
    }

    /// Both ends of a pass.
    pub fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    fn ticks(&self) -> Option<u64> {
        let view = self.readable.get_mapped_range(..).ok()?;
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&view[..Self::BYTES as usize]);
        stamps[1].checked_sub(stamps[0])
    }
}

impl Clock {
    /// For the next slice; none where timestamps are not granted.
    pub fn slot(&self, device: &wgpu::Device) -> Option<Slot> {
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return None;
        }
        let waiting = lock(&self.slots).pop();
        Some(waiting.unwrap_or_else(|| Slot::new(device)))
    }

    /// Records how what was just recorded is timed. `period` is that of the queue's timestamps, in nanoseconds.
    pub fn watch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        slot: Option<Slot>,
        period: f32,
        work: Work,
    ) {
        let finished = self.finished.clone();
        let Some(slot) = slot else {
            watch_completion(encoder, finished, work);
            return;
        };
        encoder.resolve_query_set(&slot.queries, 0..2, &slot.resolved, 0);
        encoder.copy_buffer_to_buffer(&slot.resolved, 0, &slot.readable, 0, Slot::BYTES);
        let readable = slot.readable.clone();
        encoder.map_buffer_on_submit(&readable, wgpu::MapMode::Read, .., move |mapped| {
            if mapped.is_ok() {
                lock(&finished).push(Finished::Stamped { slot, period, work });
            }
        });
    }

    /// Learns of the slices that are done.
    pub fn learn(&self, device: &wgpu::Device) {
        // Somebody beside the clock holds on to the list: a slice is on its way.
        if Arc::strong_count(&self.finished) > 1 {
            // A lost device tells elsewhere.
            let _ = device.poll(wgpu::PollType::Poll);
        }
        let finished = std::mem::take(&mut *lock(&self.finished));
        for slice in finished {
            let (time, work) = match slice {
                Finished::Took { time, work } => (time, work),
                Finished::Stamped { slot, period, work } => {
                    let ticks = slot.ticks();
                    slot.readable.unmap();
                    let mut slots = lock(&self.slots);
                    if slots.len() < MOST_KEPT {
                        slots.push(slot);
                    }
                    let Some(ticks) = ticks else {
                        continue;
                    };
                    let time = Duration::from_secs_f64(ticks as f64 * f64::from(period) * 1e-9);
                    (time, work)
                }
            };
            tracing::trace!(?time, "a slice is done");
            lock(&self.pace).learn(&work, time.max(LEAST).as_secs_f64());
        }
    }

    /// What is known so far.
    pub fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.pace)
    }
}

/// Times from here to when a poll notices that the work is done.
#[cfg(not(target_arch = "wasm32"))]
fn watch_completion(
    encoder: &mut wgpu::CommandEncoder,
    finished: Arc<Mutex<Vec<Finished>>>,
    work: Work,
) {
    let start = std::time::Instant::now();
    encoder.on_submitted_work_done(move || {
        let time = start.elapsed();
        lock(&finished).push(Finished::Took { time, work });
    });
}

/// There is no clock to be had without more of the browser.
#[cfg(target_arch = "wasm32")]
fn watch_completion(
    _encoder: &mut wgpu::CommandEncoder,
    _finished: Arc<Mutex<Vec<Finished>>>,
    _work: Work,
) {
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // All are whole at every moment, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

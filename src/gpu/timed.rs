//! What each step of a call takes, by timestamps.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use futures::channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::{Cost, Piece};

use super::call::Call;
use super::download::Mapping;

/// Timestamps of a query set: what every implementation of WebGPU grants.
const MOST_QUERIES: usize = 4096;

/// A step and its time, in the plan's words.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepTime {
    /// Its number in [`Plan::steps`](crate::Plan::steps).
    pub step: usize,
    /// Its kernel, as the plan prints it.
    pub kernel: String,
    /// What a workgroup of it owns: its tiles, where it visits some.
    pub tiles: String,
    /// What it costs.
    pub cost: Cost,
    /// What it took.
    pub time: Duration,
}

impl StepTime {
    /// 10⁹ FLOPs per second.
    pub fn gflops(&self) -> f64 {
        self.cost.flops as f64 / self.time.as_nanos().max(1) as f64
    }
}

impl fmt::Display for StepTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            step,
            kernel,
            tiles,
            time,
            ..
        } = self;
        let ms = time.as_secs_f64() * 1e3;
        write!(f, "{}. {kernel}: {tiles}, {ms:.3} ms", step + 1)?;
        match self.cost.flops {
            0 => Ok(()),
            _ => write!(f, ", {:.1} GFLOP/s", self.gflops()),
        }
    }
}

/// Times that are on their way.
#[derive(Debug)]
pub struct Timed {
    device: wgpu::Device,
    steps: Vec<StepTime>,
    parts: Vec<Part>,
    period: f32,
}

/// The timestamps of some steps.
#[derive(Debug)]
struct Part {
    readable: wgpu::Buffer,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Call {
    /// Records all steps as [`Self::encode`] does, each in a pass of its own between timestamps. The queue tells what these count.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`] on a device without `Features::TIMESTAMP_QUERY`.
    pub fn encode_timed(
        &self,
        queue: &wgpu::Queue,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<Timed> {
        if !self
            .device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
        {
            return Err(Error::NotGranted {
                what: "Call::encode_timed",
                feature: "Features::TIMESTAMP_QUERY",
            });
        }
        let steps = self.plan().steps().iter().enumerate();
        let steps: Vec<_> = steps
            .map(|(n, step)| StepTime {
                step: n,
                kernel: step.variant().to_string(),
                tiles: step.tiles(),
                cost: step.cost,
                time: Duration::ZERO,
            })
            .collect();
        let numbers: Vec<usize> = (0..steps.len()).collect();
        let parts = numbers
            .chunks(MOST_QUERIES / 2)
            .map(|part| self.encode_part(encoder, part[0]..part[0] + part.len()))
            .collect();
        Ok(Timed {
            device: self.device.clone(),
            steps,
            parts,
            period: queue.get_timestamp_period(),
        })
    }

    fn encode_part(&self, encoder: &mut wgpu::CommandEncoder, steps: Range<usize>) -> Part {
        let count = 2 * steps.len() as u32;
        let queries = self.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("attention steps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        for (n, step) in (0..).step_by(2).zip(steps) {
            let stamps = wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(n),
                end_of_pass_write_index: Some(n + 1),
            };
            let workgroups = 0..self.plan().steps()[step].workgroups();
            self.encode_pieces(encoder, &[Piece { step, workgroups }], Some(stamps));
        }
        let buffer = |label, usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: u64::from(count) * 8,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(
            "attention timestamps",
            wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        );
        let readable = buffer(
            "attention times",
            wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        );
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &readable, 0, readable.size());
        let (sender, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(&readable, wgpu::MapMode::Read, .., move |result| {
            // Nobody waits once the times were dropped.
            let _ = sender.send(result);
        });
        Part { readable, mapped }
    }
}

impl Timed {
    /// The times of all steps, once what was recorded is submitted and done. It never blocks, as [`crate::download`].
    ///
    /// # Errors
    ///
    /// [`Error::DeviceLost`] where nothing comes of it: the device is lost, or the encoder was dropped.
    pub async fn times(self) -> Result<Vec<StepTime>> {
        let Self {
            device,
            mut steps,
            parts,
            period,
        } = self;
        let mut stamps: Vec<u64> = Vec::new();
        for Part { readable, mapped } in parts {
            Mapping {
                device: device.clone(),
                mapped,
            }
            .await?;
            let view = readable.get_mapped_range(..);
            let view = view.map_err(|_| Error::DeviceLost)?;
            stamps.extend(bytemuck::pod_collect_to_vec::<u8, u64>(&view));
        }
        for (step, ends) in steps.iter_mut().zip(stamps.chunks_exact(2)) {
            let ticks = ends[1].saturating_sub(ends[0]) as f64;
            step.time = Duration::from_secs_f64(ticks * f64::from(period) * 1e-9);
        }
        Ok(steps)
    }
}

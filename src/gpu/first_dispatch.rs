//! The first dispatch of a kernel: some drivers (LLVM-based software adapters) compile there and not before.

use std::sync::Arc;

use crate::error::Result;
use crate::shader::Access;

use super::buffers::scoped;
use super::compile::Pipeline;
use super::download::download;
use super::handles::check_queue;

/// More than the least binding of any tensor: what is bound is only looked at for its size.
const BINDING_BYTES: u64 = 256;

/// Dispatches no workgroup, over buffers of its own, and waits until that is done. No invocation runs, so nothing is read or
/// written, whatever the kernel. A thread of the library's submits: a driver that compiles then does so before `submit`
/// returns.
pub(super) async fn first_dispatch(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    pipeline: Arc<Pipeline>,
) -> Result<()> {
    let dispatched = dispatched(device.clone(), queue.clone(), pipeline);
    #[cfg(not(target_arch = "wasm32"))]
    let dispatched = super::workers::run(super::urgency::Urgency::Begun, dispatched);
    dispatched.await
}

async fn dispatched(
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: Arc<Pipeline>,
) -> Result<()> {
    check_queue(&device, &queue)?;
    let mark = scoped(&device, "a first dispatch", || {
        let group = dummies(&device, &pipeline);
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("attention warm-up"),
            timestamp_writes: None,
        });
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(0, 0, 0);
        drop(pass);
        queue.submit([encoder.finish()]);
        buffer(&device, 4, wgpu::BufferUsages::COPY_SRC)
    })
    .await?;
    // After all that was submitted before.
    download(&device, &queue, &mark).await.map(drop)
}

/// A buffer of its own for each binding, so that none is read and written.
fn dummies(device: &wgpu::Device, pipeline: &Pipeline) -> wgpu::BindGroup {
    let buffers: Vec<_> = pipeline
        .binds
        .iter()
        .map(|bind| match bind.access {
            Access::Uniform => {
                let bytes = pipeline.parameter_bytes().max(16);
                buffer(device, bytes, wgpu::BufferUsages::UNIFORM)
            }
            Access::Read | Access::ReadWrite => {
                buffer(device, BINDING_BYTES, wgpu::BufferUsages::STORAGE)
            }
        })
        .collect();
    let entries = pipeline.binds.iter().zip(&buffers);
    let entries: Vec<_> = entries
        .map(|(bind, buffer)| wgpu::BindGroupEntry {
            binding: bind.number,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("attention warm-up"),
        layout: &pipeline.layout,
        entries: &entries,
    })
}

fn buffer(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("attention warm-up"),
        size,
        usage,
        mapped_at_creation: false,
    })
}

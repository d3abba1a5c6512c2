//! The forward pass on the default adapter, from submit to completion: both strategies, D 64 and 128, full, causal and
//! window. Each answer is held against the f64 reference before it is timed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use wgpu_attention::Role;
use wgpu_attention::plan::StrategyKind;
use wgpu_attention::problem::{Element, Mask, Problem, Shape};
use wgpu_attention::reference::{Forward, Tensors};
use wgpu_attention::{Attention, Host, Operands, Plan, PlanOptions};

#[path = "../tests/support/mod.rs"]
mod support;

use support::compare::assert_forward;
use support::tensor::{decode, encode, normal, round};

const HEADS: u32 = 2;
const LEN: u32 = 512;

/// A device of the default adapter.
struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    attention: Attention,
}

impl Gpu {
    async fn open() -> Result<Self> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = instance.request_adapter(&Default::default()).await?;
        let (required_features, required_limits) = wgpu_attention::wanted(&adapter);
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                required_features,
                required_limits,
                ..Default::default()
            })
            .await?;
        Ok(Self {
            attention: Attention::with_adapter(&adapter, &device),
            device,
            queue,
        })
    }

    /// The time of `times` runs of the plan, one submit each.
    fn time(&self, plan: &Plan, times: u64) -> Result<Duration> {
        let buffers: Vec<(Role, wgpu::Buffer)> = plan
            .requirements()
            .iter()
            .map(|need| (need.role, self.buffer(need.bytes)))
            .collect();
        let operands = buffers
            .iter()
            .fold(Operands::default(), |all, (role, buffer)| {
                all.with(*role, buffer)
            });
        let call = pollster::block_on(self.attention.prepare(plan, &operands))?;
        let mut total = Duration::ZERO;
        for _ in 0..times {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            call.encode(&mut encoder);
            let commands = encoder.finish();
            let start = Instant::now();
            self.queue.submit([commands]);
            self.device.poll(wgpu::PollType::wait_indefinitely())?;
            total += start.elapsed();
        }
        Ok(total)
    }

    fn buffer(&self, bytes: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    }
}

/// Panics where the plan's answer is wrong.
fn check(gpu: &Gpu, problem: &Problem, plan: &Plan) -> Result<()> {
    let shape = &problem.shape;
    let values = |seed| -> Vec<f64> {
        let normal = normal(seed, shape.rows() as usize * shape.head_dim as usize);
        normal.into_iter().map(|x| round(Element::F32, x)).collect()
    };
    let [q, k, v] = [0, 1, 2].map(values);
    let [q_bytes, k_bytes, v_bytes] = [&q, &k, &v].map(|x| encode(Element::F32, x));
    let host = Host::new(&q_bytes, &k_bytes, &v_bytes);
    let out = pollster::block_on(gpu.attention.run(&gpu.queue, plan, &host))?;
    let got = Forward::new(
        decode(Element::F32, &out.o),
        out.lse.iter().map(|&x| f64::from(x)).collect(),
    );
    assert_forward(problem, &Tensors::new(&q, &k, &v), &got, &plan.to_string());
    Ok(())
}

fn forward(criterion: &mut Criterion) {
    let gpu = pollster::block_on(Gpu::open()).expect("a device to bench on");
    for strategy in [StrategyKind::Subgroup, StrategyKind::Workgroup] {
        for dim in [64, 128] {
            if let Err(declined) = masks(criterion, &gpu, strategy, dim) {
                eprintln!("{strategy:?} D={dim} is left out: {declined:#}");
            }
        }
    }
}

/// All masks of one variant, in one group.
fn masks(criterion: &mut Criterion, gpu: &Gpu, strategy: StrategyKind, dim: u32) -> Result<()> {
    let mut group = criterion.benchmark_group(format!("forward/{strategy:?}/D={dim}"));
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let masks = [
        ("full", Mask::default()),
        ("causal", Mask::causal()),
        ("window", Mask::window(64, 0)),
    ];
    for (name, mask) in masks {
        let shape = Shape::square(1, HEADS, LEN, dim);
        let problem = Problem::new(shape, Element::F32).with_mask(mask);
        let choice = PlanOptions::default().with_strategy(strategy);
        let plan = gpu.attention.plan_with(&problem, &choice)?;
        check(gpu, &problem, &plan).with_context(|| name)?;
        // Elements are FLOPs.
        group.throughput(Throughput::Elements(plan.flops()));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| gpu.time(&plan, times).expect("a timed run"));
        });
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, forward);
criterion_main!(benches);

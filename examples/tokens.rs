//! A token at a time through a KV cache of 30 layers, and what a token costs the CPU:
//! `cargo run --release --example tokens`.

use std::time::{Duration, Instant};

use wgpu_attention::problem::position::Rotary;
use wgpu_attention::{Attention, CacheKind, Call, Element, KvCacheOptions};

const LAYERS: u32 = 30;
const HEADS: u32 = 9;
const KV_HEADS: u32 = 3;
const DIM: u32 = 64;
const TOKENS: u32 = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let instance = wgpu::Instance::default();
    let adapter = instance.request_adapter(&Default::default()).await?;
    let (features, limits) = wgpu_attention::wanted(&adapter);
    let request = wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&request).await?;
    let attention = Attention::with_adapter(&adapter, &device);

    // Pages of 64 tokens, taken as the sequence grows; keys are rotated as they are written.
    let kind = CacheKind::Paged {
        page_len: 64,
        pages: 32,
        capacity: 2048,
    };
    let options = KvCacheOptions::new(kind, KV_HEADS, DIM)
        .with_layers(LAYERS)
        .with_rotary(Rotary::new(DIM));
    println!("a cache of {:.1} MiB", options.bytes()? as f64 / 1048576.0);
    let mut cache = attention.kv_cache(&options).await?;

    // What a model's layers would write here: a token's q, k and v. All layers share the buffers in this example.
    let buffer = |heads: u32| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(heads * DIM) * 4,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let [q, k, v, o, lse] = [HEADS, KV_HEADS, KV_HEADS, HEADS, 1].map(buffer);

    // Both calls of each layer are prepared once, whatever the sequence becomes.
    let append = attention.plan_append(&cache.append(Element::F32))?;
    let attend = attention.plan(&cache.problem(HEADS, Element::F32))?;
    let mut calls: Vec<[Call; 2]> = Vec::new();
    for layer in 0..LAYERS {
        calls.push([
            attention
                .prepare(&append, &cache.append_operands(layer, &k, &v)?)
                .await?,
            attention
                .prepare(&attend, &cache.operands(layer, &q, &o, &lse)?)
                .await?,
        ]);
    }

    let sequence = cache.create()?;
    let mut on_cpu = Vec::new();
    for token in 0..TOKENS {
        for (to, heads) in [(&q, HEADS), (&k, KV_HEADS), (&v, KV_HEADS)] {
            let row: Vec<f32> = (0..heads * DIM)
                .map(|n| ((n + token) as f32 * 0.1).sin())
                .collect();
            queue.write_buffer(to, 0, bytemuck::cast_slice(&row));
        }
        let start = Instant::now();
        let mut encoder = device.create_command_encoder(&Default::default());
        cache.begin(&mut encoder, &[(sequence, 1)])?;
        for [append, attend] in &calls {
            append.encode(&mut encoder);
            attend.encode(&mut encoder);
        }
        let commands = encoder.finish();
        on_cpu.push(start.elapsed());
        queue.submit([commands]);
        // An application would draw a frame meanwhile.
        wgpu_attention::download(&device, &queue, &lse).await?;
    }
    on_cpu.sort();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(LAYERS);
    println!(
        "{TOKENS} tokens; recording one takes {:.0} us of CPU per layer (median; {:.0} at least)",
        each(on_cpu[on_cpu.len() / 2]),
        each(on_cpu[0]),
    );

    let o = wgpu_attention::download(&device, &queue, &o).await?;
    let o: Vec<f32> = bytemuck::pod_collect_to_vec(&o);
    println!(
        "the last o begins {:?}; the cache holds {} tokens",
        &o[..4],
        cache.len(sequence)?
    );
    Ok(())
}

//! Attention on one's own device, the shortest way: `cargo run --release --example quickstart`.

use wgpu_attention::{Attention, Element, Host, Mask, Problem, Shape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // The application's own device, with what the library wants of the adapter beside it.
    let instance = wgpu::Instance::default();
    let adapter = instance.request_adapter(&Default::default()).await?;
    let (features, limits) = wgpu_attention::wanted(&adapter);
    let request = wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&request).await?;

    // What is to be computed: 1 sequence, 8 heads, 1024 tokens, head size 64, no query sees a later key.
    let shape = Shape::square(1, 8, 1024, 64);
    let problem = Problem::new(shape, Element::F32).with_mask(Mask::causal());

    // How, on this device, and why.
    let attention = Attention::with_adapter(&adapter, &device);
    let plan = attention.plan(&problem)?;
    println!("{plan}");

    // Some q, k and v [1, 8, 1024, 64]; the answer is o [1, 8, 1024, 64] and lse [1, 8, 1024].
    let wave = |step: f32| -> Vec<f32> {
        (0..8 * 1024 * 64)
            .map(|n| (n as f32 * step).sin())
            .collect()
    };
    let (q, k, v) = (wave(0.1), wave(0.2), wave(0.3));
    let (q, k, v) = (
        bytemuck::cast_slice(&q),
        bytemuck::cast_slice(&k),
        bytemuck::cast_slice(&v),
    );
    let outputs = attention.run(&queue, &plan, &Host::new(q, k, v)).await?;

    let o: Vec<f32> = bytemuck::pod_collect_to_vec(&outputs.o);
    println!(
        "first row of o begins {:?}; lse begins {:?}",
        &o[..4],
        &outputs.lse[..4]
    );
    Ok(())
}

//! Recovers hidden ALiBi slopes and a hidden value projection from data, by gradient descent through the library:
//! `cargo run --release --example fit`.
//!
//! The data is o of attention with secret slopes and v = x·W of a secret W. Forward and backward pass run on the GPU;
//! the projection's chain rule and the optimiser (Adam) are plain host code.

#[path = "support/adam.rs"]
mod adam;
#[path = "support/calls.rs"]
mod calls;
#[path = "support/canvas.rs"]
mod canvas;
#[path = "support/curve.rs"]
mod curve;
#[path = "support/device.rs"]
mod device;
#[path = "support/font.rs"]
mod font;
#[path = "support/projection.rs"]
mod projection;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;
use wgpu_attention::Role;
use wgpu_attention::problem::Values;
use wgpu_attention::{Backward, Element, Problem, Shape};

use adam::Adam;
use calls::Calls;
use device::{Gpu, NO_ADAPTER, adapters};
use projection::Projection;

const HEADS: usize = 4;
const LEN: usize = 96;
const DIM: usize = 8;
const EMBED: usize = 6;
const SECRET_SLOPES: [f32; HEADS] = [0.8, 0.3, 0.1, 0.03];
const FIRST_SLOPE: f32 = 0.2;
/// The numbers of the plans.
const FORWARD: usize = 0;
const BACKWARD: usize = 1;

#[derive(Parser)]
#[command(
    about = "Learn hidden ALiBi slopes and a value projection through the library's gradients"
)]
struct Args {
    /// Where the picture of the loss goes
    #[arg(default_value = "fit.png")]
    output: std::path::PathBuf,
    /// Steps of gradient descent
    #[arg(long, default_value_t = 300)]
    steps: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut rng = StdRng::seed_from_u64(0);
    let mut normal =
        |n: usize| -> Vec<f32> { (0..n).map(|_| rng.sample(StandardNormal)).collect() };
    let projection = Projection {
        heads: HEADS,
        len: LEN,
        embed: EMBED,
        dim: DIM,
    };
    let rows = HEADS * LEN * DIM;
    let (q, k, x, secret) = (
        normal(rows),
        normal(rows),
        normal(LEN * EMBED),
        normal(HEADS * EMBED * DIM),
    );

    let gpu = Gpu::open(adapters().first().context(NO_ADAPTER)?)?;
    println!("on {}", gpu.info.name);
    let shape = Shape::square(1, HEADS as u32, LEN as u32, DIM as u32);
    let mut problem = Problem::new(shape, Element::F32);
    problem.mask.causal = true;
    problem.score.slopes = Some(Values::Device);
    let backward = Backward::new(problem.clone(), Element::F32).with_dslopes(true);
    let plans = [
        gpu.attention.plan(&problem)?,
        gpu.attention.plan_backward(&backward)?,
    ];
    let inputs = [
        (Role::Q, bytemuck::cast_slice(&q)),
        (Role::K, bytemuck::cast_slice(&k)),
    ];
    let calls = Calls::prepare(&gpu, &[&plans[0], &plans[1]], &inputs)?;
    let read = |role| -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(&calls.download(&gpu, role)?))
    };
    let write = |role, values: &[f32]| calls.write(&gpu, role, bytemuck::cast_slice(values));
    let output = |slopes: &[f32], w: &[f32]| -> Result<Vec<f32>> {
        write(Role::Slopes, slopes);
        write(Role::V, &projection.forward(&x, w));
        calls.run_one(&gpu, FORWARD)?;
        read(Role::O)
    };

    let wanted = output(&SECRET_SLOPES, &secret)?;
    let (mut slopes, mut w) = (vec![FIRST_SLOPE; HEADS], vec![0.0; secret.len()]);
    let (mut for_slopes, mut for_w) = (Adam::new(HEADS), Adam::new(w.len()));
    let bar = ProgressBar::new(args.steps as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} {msg}",
    )?);
    let mut losses = Vec::new();
    for step in 0..args.steps {
        // loss = mean (o − wanted)²
        let o = output(&slopes, &w)?;
        let off = o.iter().zip(&wanted).map(|(o, wanted)| o - wanted);
        losses.push(off.clone().map(|x| f64::from(x * x)).sum::<f64>() / rows as f64);
        let d_o: Vec<f32> = off.map(|x| 2.0 * x / rows as f32).collect();
        write(Role::DO, &d_o);
        calls.run_one(&gpu, BACKWARD)?;
        // A step grows smaller towards the end, so that the last ones settle.
        let rate = 0.05 * (1.0 - step as f32 / args.steps as f32);
        for_slopes.step(&mut slopes, &read(Role::DSlopes)?, rate);
        for_w.step(&mut w, &projection.backward(&x, &read(Role::DV)?), rate);
        bar.set_message(format!("loss {:.2e}", losses[step]));
        bar.inc(1);
    }
    bar.finish();
    curve::draw(&args.output, &losses)?;
    println!(
        "slopes {slopes:.3?}, hidden were {SECRET_SLOPES:?}; {}",
        args.output.display()
    );
    let [first, .., last] = losses[..] else {
        bail!("--steps {} is too few; give at least 2", args.steps);
    };
    ensure!(
        last * 100.0 <= first,
        "the loss fell only from {first:.2e} to {last:.2e}, not a hundredfold"
    );
    Ok(())
}

//! Recovers hidden ALiBi slopes and a hidden value projection from data, by gradient descent through the library:
//! `cargo run --release --example fit`.
//!
//! The data is o of attention with secret slopes and v = x·W of a secret W. Forward and backward pass run on the GPU;
//! the projection's chain rule and the optimiser (Adam) are plain host code.

#[path = "support/calls.rs"]
mod calls;
#[path = "support/device.rs"]
mod device;
#[path = "support/font.rs"]
mod font;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use plotters::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;
use wgpu_attention::plan::Role;
use wgpu_attention::problem::{Score, Values};
use wgpu_attention::{Backward, Element, Mask, Problem, Shape};

use calls::Calls;
use device::{Gpu, NO_ADAPTER, adapters};

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
    let rows = HEADS * LEN * DIM;
    let (q, k, x, secret) = (
        normal(rows),
        normal(rows),
        normal(LEN * EMBED),
        normal(HEADS * EMBED * DIM),
    );

    let gpu = Gpu::open(adapters().first().context(NO_ADAPTER)?)?;
    let score = Score {
        slopes: Some(Values::Device),
        ..Score::default()
    };
    let shape = Shape::square(1, HEADS as u32, LEN as u32, DIM as u32);
    let problem = Problem {
        mask: Mask::causal(),
        score,
        ..Problem::new(shape, Element::F32)
    };
    let backward = Backward {
        dslopes: true,
        ..Backward::new(problem.clone(), Element::F32)
    };
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
        write(Role::V, &project(&x, w));
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
        let off: Vec<f32> = o
            .iter()
            .zip(&wanted)
            .map(|(o, wanted)| o - wanted)
            .collect();
        losses.push(off.iter().map(|x| f64::from(x * x)).sum::<f64>() / rows as f64);
        write(
            Role::DO,
            &off.iter()
                .map(|x| 2.0 * x / rows as f32)
                .collect::<Vec<_>>(),
        );
        calls.run_one(&gpu, BACKWARD)?;
        // A step grows smaller towards the end, so that the last ones settle.
        let rate = 0.05 * (1.0 - step as f32 / args.steps as f32);
        for_slopes.step(&mut slopes, &read(Role::DSlopes)?, rate);
        for_w.step(&mut w, &project_back(&x, &read(Role::DV)?), rate);
        bar.set_message(format!("loss {:.2e}", losses[step]));
        bar.inc(1);
    }
    bar.finish();
    draw(&args.output, &losses)?;
    println!(
        "slopes {slopes:.3?}, hidden were {SECRET_SLOPES:?}; {}",
        args.output.display()
    );
    let (first, last) = (
        losses.first().context("no steps")?,
        losses.last().context("no steps")?,
    );
    ensure!(
        last * 100.0 <= *first,
        "the loss fell only from {first:.2e} to {last:.2e}, not a hundredfold"
    );
    Ok(())
}

/// v `[H, N, D]` = x `[N, E]` · W `[H, E, D]`
fn project(x: &[f32], w: &[f32]) -> Vec<f32> {
    let mut v = vec![0.0; HEADS * LEN * DIM];
    each(|row, weight, embed| v[row] += x[embed] * w[weight]);
    v
}

/// dW = xᵀ · dV
fn project_back(x: &[f32], dv: &[f32]) -> Vec<f32> {
    let mut dw = vec![0.0; HEADS * EMBED * DIM];
    each(|row, weight, embed| dw[weight] += x[embed] * dv[row]);
    dw
}

/// Calls `f` with the indices in v, W and x of every product.
fn each(mut f: impl FnMut(usize, usize, usize)) {
    for (h, n) in (0..HEADS).flat_map(|h| (0..LEN).map(move |n| (h, n))) {
        for (e, d) in (0..EMBED).flat_map(|e| (0..DIM).map(move |d| (e, d))) {
            f(
                (h * LEN + n) * DIM + d,
                (h * EMBED + e) * DIM + d,
                n * EMBED + e,
            );
        }
    }
}

/// Adam (1412.6980): running means of gradients and of their squares.
struct Adam {
    means: Vec<[f32; 2]>,
    time: i32,
}

impl Adam {
    fn new(count: usize) -> Self {
        Self {
            means: vec![[0.0; 2]; count],
            time: 0,
        }
    }

    fn step(&mut self, values: &mut [f32], gradients: &[f32], rate: f32) {
        self.time += 1;
        let unbias = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(self.time));
        for ((value, g), [mean, square]) in values.iter_mut().zip(gradients).zip(&mut self.means) {
            *mean += 0.1 * (g - *mean);
            *square += 0.001 * (g * g - *square);
            *value -= rate * (*mean / unbias[0]) / ((*square / unbias[1]).sqrt() + 1e-10);
        }
    }
}

fn draw(path: &std::path::Path, losses: &[f64]) -> Result<()> {
    font::register()?;
    let area = BitMapBackend::new(path, (800, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    let highest = losses.iter().fold(1e-12, |a: f64, &b| a.max(b)) * 2.0;
    let lowest = losses
        .iter()
        .fold(highest, |a: f64, &b| a.min(b))
        .max(1e-12)
        / 2.0;
    let mut chart = ChartBuilder::on(&area)
        .margin(15)
        .caption("loss", (font::FAMILY, 20))
        .set_all_label_area_size(55)
        .build_cartesian_2d(0..losses.len(), (lowest..highest).log_scale())?;
    chart
        .configure_mesh()
        .label_style((font::FAMILY, 13))
        .y_label_formatter(&|y| format!("{y:.0e}"))
        .draw()?;
    chart.draw_series(LineSeries::new(losses.iter().copied().enumerate(), &BLUE))?;
    area.present()?;
    Ok(())
}

//! Which tiles are the fastest on this adapter?
//!
//! Measures the tiles that are legal here for a set of problems (many queries, few queries, gradients), prints what the
//! library's table and the best of them take, and writes both as a tuning: `Attention::with_tuning` takes it, and a record of
//! an adapter that the library's tables do not know is welcome (`CONTRIBUTING.md`).
//!
//! ```text
//! cargo run --release -p tune
//! cargo run --release -p tune -- --only "prefill f16" --seconds 30 my-adapter.json
//! ```
//!
//! The table's tiles are always a candidate; others must answer the same and be clearly faster, in runs that took turns
//! with it. Progress goes to stderr.

// `attend` lists adapters, too.
#[allow(dead_code)]
#[path = "../../attend/src/adapter.rs"]
mod adapter;
#[allow(dead_code)] // Nothing is submitted here but by the library.
#[path = "../../support/device.rs"]
mod device;
mod problems;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use wgpu_attention::Tuning;

use crate::device::Gpu;
use crate::progress::Progress;

/// Measures which tiles are the fastest on this adapter.
#[derive(Parser)]
struct Options {
    /// File to write the tuning to
    #[arg(value_name = "FILE.json", default_value = "tuning.json")]
    file: PathBuf,
    /// Seconds of measuring, about: what is compiled is not cut off
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Only classes whose description contains each of these words, such as "prefill f16 D=64"
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Adapter to use: its index, or a part of its name
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let gpu = Gpu::open(&adapter::choose(options.adapter.as_deref())?)?;
    let words: Vec<_> = options
        .only
        .iter()
        .flat_map(|x| x.split_whitespace())
        .collect();
    let plans = problems::plans(&gpu.attention, &words)?;
    ensure!(
        !plans.is_empty(),
        "no class has all words of --only; one reads like 'prefill f16 D=64 Dv=64, 1024 rows, interval'"
    );
    println!("{}", gpu.attention.caps().adapter);
    for quirk in &gpu.attention.caps().quirks {
        println!("known: {quirk}");
    }
    let mut progress = Progress::new(options.seconds);
    let tune = gpu
        .attention
        .tune_with(&gpu.queue, &plans, options.seconds as f32, |trial| {
            progress.tell(trial);
        });
    let tuning = pollster::block_on(tune);
    progress.finish();
    let tuning = tuning?;
    print(&tuning);
    let file = &options.file;
    std::fs::write(file, tuning.to_json())
        .with_context(|| format!("{} cannot be written", file.display()))?;
    println!("{} has what Attention::with_tuning takes", file.display());
    Ok(())
}

/// Before and after.
fn print(tuning: &Tuning) {
    let width = tuning
        .rows()
        .iter()
        .map(|row| row.class.to_string().len())
        .max();
    let width = width.unwrap_or(0).max(5);
    println!(
        "{:width$}  {:>9}  {:>9}  ratio  tiles",
        "class", "table ms", "tuned ms"
    );
    for row in tuning.rows() {
        let [table, tuned] = [row.table_ns, row.tuned_ns].map(|ns| ns as f64 / 1e6);
        let ratio = tuned / table.max(1e-9);
        let tiles = match row.tuned_ns < row.table_ns {
            true => row.tiles.to_string(),
            false => "those of the table".into(),
        };
        let class = row.class.to_string();
        println!("{class:width$}  {table:9.3}  {tuned:9.3}  {ratio:5.2}  {tiles}");
    }
}

//! What does this adapter reach, and how much of it does attention use?
//!
//! Measures the adapter's ceilings (arithmetic in registers, reading, copying), attention as a framework writes it in
//! three kernels, and this library's kernels over sizes, masks, elements and strategies. Each answer is checked
//! against f64 before it is timed.
//!
//! ```text
//! cargo run --release -p roofline
//! cargo run --release -p roofline -- --only "forward D=64" --json > roofline.json
//! ```
//!
//! A time is the minimum of seven runs after two, or of fewer where these take seconds (`timing.rs`; the column `runs`
//! says of how many). `ratio` is a row's time over that of the row it is compared with, which took turns with it:
//! causal over full, a block mask over none, ALiBi over plain. Progress goes to stderr.
//!
//! `first_ms` is a row's first call, as an application sees it: composing, compiling and running where the row is the
//! first of its variant, running alone where it is not. Mesa keeps compiled shaders on disk; only with
//! `MESA_SHADER_CACHE_DISABLE=true` in the environment is it the time of a cold start.

mod backward;
mod backward_naive;
mod cached;
mod case;
mod ceiling;
mod check;
mod forward;
mod gpu;
mod inputs;
mod measure;
mod naive;
mod operation;
mod progress;
mod ragged;
mod report;
mod rotate;
mod rows;
mod select;
mod timing;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::case::{Group, Row};
use crate::ceiling::Ceiling;
use crate::gpu::Gpu;
use crate::progress::Progress;
use crate::report::Report;

/// Measures attention against what the adapter can do at most.
#[derive(Parser)]
struct Options {
    /// Only rows whose description contains each of these words, such as "forward causal Nq=1024"
    #[arg(long)]
    only: Option<String>,
    /// Part of the adapter's name; the fastest adapter if not given
    #[arg(long)]
    adapter: Option<String>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
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
    let groups = selected(options.only.as_deref());
    ensure!(
        !groups.is_empty(),
        "no row has all words of --only; a row reads like '{}'",
        rows::all()[0].0[0].label()
    );
    let gpu = pollster::block_on(Gpu::open(options.adapter.as_deref()))?;
    let mut progress = Progress::of(&groups);

    progress.ceilings();
    let mut ceiling = Ceiling::measure(&gpu)?;
    let (mut measured, mut failed) = (Vec::new(), 0);
    for group in groups {
        measured.extend(measure::group(
            &gpu,
            group,
            &mut ceiling,
            &mut progress,
            &mut failed,
        )?);
    }
    progress.finish();

    let report = Report::new(gpu.name(), &ceiling, &measured);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}

/// The groups' rows that contain the words of `only`, and those that these are compared with; no empty groups.
fn selected(only: Option<&str>) -> Vec<Group> {
    let words: Vec<_> = only.unwrap_or_default().split_whitespace().collect();
    let is_wanted = |row: &Row| {
        let label = row.label();
        words.iter().all(|word| label.contains(word))
    };
    let part = |Group(rows): Group| {
        let wanted = rows.iter().filter(|row| is_wanted(row));
        let baselines = wanted.filter_map(|row| row.baseline.clone());
        let baselines: Vec<_> = baselines.map(|baseline| baseline.label).collect();
        let is_kept = |row: &Row| is_wanted(row) || baselines.contains(&row.label());
        Group(rows.into_iter().filter(is_kept).collect())
    };
    let groups = rows::all().into_iter().map(part);
    groups.filter(|group| !group.0.is_empty()).collect()
}

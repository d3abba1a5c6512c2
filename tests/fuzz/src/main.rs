//! Seeded problems against the reference, and nonsense against everything that takes input: what `cargo xtask fuzz` runs,
//! once for each adapter.
//!
//! A case is a kind and a seed, and the same on every machine. A case that fails is told in one line, the command that
//! runs it again; the exit status is then 1.

mod bytes;
mod config;
mod file;
mod gpu;
mod guard;
mod kind;
mod mods;
mod nonsense;
mod plan;
mod problem;
mod report;
// One call by `Attention::run`.
#[path = "../../browser/src/run.rs"]
mod run;
#[path = "../../support/mod.rs"]
mod support;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;

use gpu::Gpu;
use kind::{Bench, Kind};
use report::Report;

#[derive(Debug, Parser)]
struct Args {
    /// How long to draw; without it the one case of --only and --seed is run and told in full
    #[arg(long, requires = "seed")]
    minutes: Option<f64>,
    /// The seed of the first case; the next has the next
    #[arg(long)]
    seed: u64,
    /// What is drawn
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    only: Vec<Kind>,
    /// What `cargo xtask fuzz` calls this adapter
    #[arg(long)]
    on: Option<String>,
    /// Where the running case is noted, for who finds this process dead
    #[arg(long)]
    note: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    guard::catch_panics();
    let gpu = args.only.contains(&Kind::Problem).then(Gpu::open);
    let bench = Bench {
        gpu: gpu.transpose()?,
        attend: attend()?,
    };
    let mut report = Report::new(&args, &bench);
    match args.minutes {
        Some(minutes) => {
            let time = Duration::from_secs_f64(60.0 * minutes);
            draw(&args, &bench, time, &mut report);
        }
        None => {
            for kind in &args.only {
                report.one(&bench, *kind, args.seed);
            }
        }
    }
    Ok(report.finish())
}

/// The tool, which `cargo xtask fuzz` builds too: a folder above the programs of tests.
fn attend() -> Result<PathBuf> {
    let name = format!("attend{}", std::env::consts::EXE_SUFFIX);
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(Path::parent).unwrap_or(&here);
    Ok(folder.join(name))
}

/// Cases until the time is over, of each kind for an equal part of it.
fn draw(args: &Args, bench: &Bench, time: Duration, report: &mut Report) {
    let begun = Instant::now();
    let mut spent = vec![(Duration::ZERO, args.seed); args.only.len()];
    while begun.elapsed() < time {
        let next = (0..spent.len()).min_by_key(|n| spent[*n].0).unwrap_or(0);
        let start = Instant::now();
        report.one(bench, args.only[next], spent[next].1);
        spent[next].0 += start.elapsed();
        spent[next].1 += 1;
    }
}

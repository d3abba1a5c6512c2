//! `--doctor`: a minute of small problems on an adapter, each held against the definition in f64, and a file that says what
//! was right, wrong or refused.

mod cases;
mod check;
mod report;
mod speed;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use wgpu_attention::Error;

use crate::adapter;
use crate::device::Gpu;

use self::cases::Case;
use self::check::Accuracy;
use self::report::{Fault, Report};

#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// Runs a minute of small problems on the adapter, holds each against the definition in f64 and writes a report to
    /// attach to an issue [default: attend-doctor.json]
    #[arg(long, value_name = "FILE.json", num_args = 0..=1, default_missing_value = "attend-doctor.json", conflicts_with_all = ["input", "random"])]
    pub doctor: Option<PathBuf>,
    /// Seconds of --doctor, about
    // Where it conflicts with what is there, clap waives that it needs --doctor.
    #[arg(long, value_name = "N", requires = "doctor", conflicts_with_all = ["input", "random"], default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
}

/// Of the time, for the cases; the rest is for speeds.
const CASES: f64 = 0.85;
/// Parts of a second that the bar moves by.
const PARTS: u64 = 10;

/// Runs as many cases as there is time for; an error where one of them is wrong or fails.
pub fn run(file: &Path, seconds: u32, wanted: Option<&str>) -> Result<()> {
    ensure!(
        file.extension().is_some_and(|end| end == "json"),
        "the report {} has no name of a JSON file; give --doctor FILE.json",
        file.display()
    );
    let gpu = Gpu::open(&adapter::choose(wanted)?)?;
    let (start, whole) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut report = Report::new(&gpu);
    print!("{}", report.device());
    let all = cases::all(&gpu);
    report.cases = all.len();
    let bar = bar(seconds);
    for case in all {
        if start.elapsed() >= whole.mul_f64(CASES) || report.device_lost {
            break;
        }
        let parts = start.elapsed().as_secs_f64() * PARTS as f64;
        bar.set_position(parts as u64);
        bar.set_message(format!("{} right, {case}", report.right));
        // A driver that takes the process with it leaves a report that names the case.
        report.running = Some(case.to_string());
        report.write(file)?;
        one(&gpu, &case, &mut report);
    }
    report.running = None;
    let left = whole.saturating_sub(start.elapsed());
    report.speeds = speed::measure(&gpu, left, &mut report);
    bar.finish_and_clear();
    report.seconds = start.elapsed().as_secs_f64();
    report.write(file)?;
    print!("{}", report.summary());
    println!("{} has the report", file.display());
    if report.faults.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} cases are wrong or fail on {}, the first: {}; attach {} to an issue",
        report.faults.len(),
        report.ran(),
        gpu.info.name,
        report.faults[0].sentence(),
        file.display()
    )
}

/// Runs a case; a panic of a driver's front end is a fault like others.
fn one(gpu: &Gpu, case: &Case, report: &mut Report) {
    let result = catch_unwind(AssertUnwindSafe(|| check::run(gpu, case)));
    let fault = |what: String| Fault::new(gpu, case, what);
    match result {
        Ok(Ok(Accuracy { error, allowed })) if error <= allowed => report.right += 1,
        Ok(Ok(Accuracy { error, allowed })) => report.faults.push(fault(format!(
            "off by {error:.1e} of the answer's size; allowed is {allowed:.1e}"
        ))),
        Ok(Err(error)) => {
            report.device_lost = error == Error::DeviceLost;
            report.faults.push(fault(error.to_string()));
        }
        Err(_) => report.faults.push(fault("panicked; see stderr".into())),
    }
}

fn bar(seconds: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(seconds) * PARTS);
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent}% {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

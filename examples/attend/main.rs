//! Attention over the tensors of a safetensors file: the library for somebody with files instead of buffers.
//!
//! `attend INPUT.safetensors [OUTPUT.safetensors] [options]`, see `--help`. Exit status 0: done; 2: a bad command
//! line, or a tensor or an option that is not supported yet; 1: any other error, one sentence on stderr.

mod adapter;
mod cli;
#[path = "../support/device.rs"]
mod device;
mod input;
mod output;
mod position;
#[path = "../support/random.rs"]
mod random;
mod report;
mod score;
#[path = "../support/tensors.rs"]
mod tensors;
#[path = "../support/timing.rs"]
mod timing;

use std::process::ExitCode;

use anyhow::Result;
use wgpu_attention::plan::Role;
use wgpu_attention::{Host, Plan, Problem};

use cli::{Args, NotSupported};
use device::Gpu;
use input::Input;
use report::Report;

fn main() -> ExitCode {
    match cli::parse().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&format!("{error:#}")));
            ExitCode::from(if error.is::<NotSupported>() { 2 } else { 1 })
        }
    }
}

/// Messages of drivers may have several lines.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn run(args: &Args) -> Result<()> {
    if args.list {
        return adapter::list();
    }
    let choice = args.choice()?;
    let input = Input::of(args)?;
    let problem = args.configure(input.problem())?;
    // Before a device is opened: what is wrong with the input is wrong on every device.
    problem.validate()?;
    let gpu = Gpu::open(&adapter::choose(args.adapter.as_deref())?)?;
    let plan = gpu.attention.plan_with(&problem, &choice)?;
    let mut report = Report::new(&gpu.info, &plan);
    if args.needs_answer() {
        report.time = answer(args, &gpu, &problem, &plan, &input)?;
    }
    report.print(args, &plan)
}

/// Runs the plan: for the output file, and for the time.
fn answer(
    args: &Args,
    gpu: &Gpu,
    problem: &Problem,
    plan: &Plan,
    input: &Input,
) -> Result<Option<timing::Timing>> {
    let operands = input.operands()?;
    let inputs: Vec<(Role, &[u8])> = operands.iter().map(|(r, bytes)| (*r, &**bytes)).collect();
    let host = inputs.iter().fold(Host::default(), |host, &(role, bytes)| {
        host.with(role, bytes)
    });
    let outputs = pollster::block_on(gpu.attention.run(&gpu.queue, plan, &host))?;
    if let Some(path) = &args.output_file {
        output::write(path, problem, &outputs)?;
    }
    args.time
        .map(|runs| timing::time(gpu, plan, &inputs, runs))
        .transpose()
}

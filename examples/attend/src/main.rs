//! Attention over the tensors of a safetensors file: the library for somebody with files instead of buffers.
//!
//! `attend INPUT.safetensors [OUTPUT.safetensors] [options]`, see `--help`. Exit status 0: done; 2: a bad command
//! line, or a tensor or an option that is not supported yet; 1: any other error, one sentence on stderr.

// The texts of the command line are for people, in whose brackets sizes stand.
#![allow(rustdoc::broken_intra_doc_links)]

mod adapter;
#[path = "../../support/calls.rs"]
mod calls;
mod cli;
mod dense;
#[path = "../../support/device.rs"]
mod device;
mod doctor;
mod gradient;
mod hints;
mod input;
mod mods;
mod output;
mod partial;
mod position;
mod ragged;
#[path = "../../support/random.rs"]
mod random;
mod report;
mod score;
mod sparse;
mod stored;
#[path = "../../support/tensors.rs"]
mod tensors;
#[path = "../../support/timing.rs"]
mod timing;
mod values;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use wgpu_attention::Role;
use wgpu_attention::{Plan, Problem};

use calls::Calls;
use cli::{Args, NotSupported};
use device::Gpu;
use input::Input;
use report::Report;

fn main() -> ExitCode {
    match run(&Args::parse()) {
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
    if let Some(file) = &args.doctor.doctor {
        return doctor::run(file, args.doctor.seconds, args.adapter.as_deref());
    }
    let choice = args.choice()?;
    let input = Input::of(args)?;
    let mut problem = args.configure(input.problem())?;
    mods::configure(&mut problem, args, &input)?;
    // Before a device is opened: what is wrong with the input is wrong on every device.
    problem.validate()?;
    let backward = args
        .grad
        .then(|| gradient::backward(&problem, &input))
        .transpose()?;
    if let Some(path) = &args.output_file {
        output::check(path)?;
    }
    let gpu = Gpu::open(&adapter::choose(args.adapter.as_deref())?)?;
    let mut plans = vec![gpu.attention.plan_with(&problem, &choice)?];
    if let Some(backward) = &backward {
        // Gradients have no kernels for few queries.
        let choice = choice.with_decode(None);
        plans.push(gpu.attention.plan_backward_with(backward, &choice)?);
    }
    positions_hint(args, &problem);
    let mut report = Report::new(&gpu.info, &problem, &plans);
    if args.needs_answer() {
        answer(args, &gpu, &problem, &plans, &input, &mut report)?;
    }
    report.print(args, &plans)
}

/// What a model does beside its rotation and the options do not say; the plan says it too.
fn positions_hint(args: &Args, problem: &Problem) {
    let rotary = problem.position.rotary.as_ref();
    let hint = rotary.and_then(|rotary| rotary.scale_hint(problem.scale()));
    if let (Some(hint), None, false) = (hint, problem.scale, args.explain) {
        eprintln!("note: {hint} (--scale)");
    }
}

/// Runs the plans, the forward one first: for the output file, for the coverage and for the time.
fn answer(
    args: &Args,
    gpu: &Gpu,
    problem: &Problem,
    plans: &[Plan],
    input: &Input,
    report: &mut Report,
) -> Result<()> {
    let mut operands = input.operands()?;
    stored::quantize(problem, &mut operands)?;
    if args.grad {
        operands.extend(gradient::operands(problem, input)?);
    }
    let inputs: Vec<(Role, &[u8])> = operands.iter().map(|(r, bytes)| (*r, &**bytes)).collect();
    let plans: Vec<&Plan> = plans.iter().collect();
    let calls = Calls::prepare(gpu, &plans, &inputs)?;
    calls.run(gpu)?;
    let mut results = output::forward(problem);
    if args.grad {
        results.extend(gradient::results(problem, input));
    }
    let chosen = sparse::chosen(problem);
    results.extend(chosen.as_ref().map(sparse::result));
    let mut tensors = Vec::with_capacity(results.len());
    for result in results {
        let mut bytes = calls.download(gpu, result.role)?;
        if let (Role::BlockLists, Some(lists)) = (result.role, &chosen) {
            bytes = sparse::matrix(lists, &bytes);
        }
        // Without a batch no step writes the gradient of a parameter.
        if bytes.is_empty() {
            bytes.resize(result.bytes(), 0);
        }
        tensors.push((result, bytes));
    }
    if let Some(path) = &args.output_file {
        output::write(path, &tensors)?;
    }
    if args.select.coverage {
        let lse = calls.download(gpu, Role::Lse)?;
        report.coverage = Some(sparse::coverage(gpu, problem, &inputs, &lse)?);
    }
    report.time = args
        .time
        .map(|runs| timing::time_calls(gpu, &calls, runs))
        .transpose()?;
    Ok(())
}

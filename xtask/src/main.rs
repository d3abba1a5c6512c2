//! The chores of the repository, from a machine that has only a Rust toolchain.

mod adapter;
mod apt;
mod browser;
mod check;
mod portability;
mod second;
mod shell;
mod stages;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::shell::cargo;

const USAGE: &str = "\
cargo xtask demo     attention of a real model on this machine's adapter
cargo xtask test     every test, in release
cargo xtask browser  a part of the tests in Chromium; --only TEXT picks some, --serve keeps the page up for your browser
cargo xtask check    what CI runs: lints, docs, tests, portability tools, second adapters, a browser

demo and test hand further arguments on; both install a software Vulkan driver where they may.";

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
        ["test", rest @ ..] => test(rest),
        ["browser", rest @ ..] => browser::command(rest),
        ["check"] => check::run(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("one of these commands is needed:\n\n{USAGE}"),
    }
}

fn demo(rest: &[&str]) -> Result<()> {
    adapter::ensure()?;
    shell::run(cargo(&["run", "--release", "--example", "demo", "--"]).args(rest))
}

fn test(rest: &[&str]) -> Result<()> {
    adapter::ensure()?;
    shell::run(cargo(check::TESTS).args(rest))
}

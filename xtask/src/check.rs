//! What CI runs.

use anyhow::Result;

use crate::{
    adapter, browser, fuzz, package, portability,
    second::{self, Extent},
    shell::{self, cargo},
    stages::Stages,
    suites,
};

/// Every suite, the examples' own tests and the doc tests; a failing suite does not hide the next.
pub const TESTS: &[&str] = &["test", "--release", "--workspace", "--no-fail-fast"];

/// On the second adapters as much as `extent` says.
pub fn run(extent: Extent) -> Result<()> {
    let mut stages = Stages::default();
    lints(&mut stages)?;
    stages.run(
        "adapter: a Vulkan driver, installed if missing",
        adapter::ensure,
    )?;
    stages.run(
        "portability tools: spirv-val and Tint, installed if missing",
        portability::ensure,
    )?;
    stages.report("tests: every suite on the default adapter", tests)?;
    second::run(&mut stages, extent)?;
    fuzz::run(&mut stages)?;
    browser::run(&mut stages)?;
    stages.summary();
    Ok(())
}

/// Release profile throughout, so that build scripts and macros are compiled once.
fn lints(stages: &mut Stages) -> Result<()> {
    stages.run(
        "lint tools: rustfmt and clippy, installed if missing",
        components,
    )?;
    stages.run("rustfmt", || {
        shell::run(&mut cargo(&["fmt", "--all", "--check"]))
    })?;
    stages.run("clippy: every target", || {
        clippy(&["--workspace", "--all-targets"])
    })?;
    stages.run("clippy: every target without wgpu", || {
        clippy(&["--all-targets", "--no-default-features"])
    })?;
    stages.run("rustdoc: every crate", || rustdoc(&["--workspace"]))?;
    stages.run("rustdoc: the library without wgpu", || {
        rustdoc(&["--lib", "--no-default-features"])
    })?;
    stages.run(
        "package: what is published, and that it forces no backend",
        package::check,
    )
}

fn components() -> Result<()> {
    if ["fmt", "clippy"]
        .iter()
        .all(|tool| shell::succeeds("cargo", &[tool, "--version"]))
    {
        return Ok(());
    }
    let mut rustup = std::process::Command::new("rustup");
    shell::run(
        rustup
            .args(["component", "add", "rustfmt", "clippy"])
            .current_dir(shell::root()),
    )
}

fn clippy(what: &[&str]) -> Result<()> {
    shell::run(
        cargo(&["clippy", "--release"])
            .args(what)
            .args(["--", "-D", "warnings"]),
    )
}

fn rustdoc(what: &[&str]) -> Result<()> {
    let mut command = cargo(&["doc", "--release", "--no-deps"]);
    shell::run(command.args(what).env("RUSTDOCFLAGS", "-D warnings"))
}

/// In this run a portability tool that is missing is a failure.
fn tests() -> Result<Vec<String>> {
    suites::run(TESTS, |command| {
        command.env("WGPU_ATTENTION_REQUIRE_TOOLS", "1");
    })
}

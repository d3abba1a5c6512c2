//! Starting other programs, always in the root of the repository.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The cargo that runs this program, with an environment fit for graphics drivers.
pub fn cargo(args: &[&str]) -> Command {
    let name = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program(Path::new(&name));
    command.args(args);
    command
}

/// A program in the root of the repository, with the same environment.
pub fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root());
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", runtime_dir());
    }
    command
}

/// Mesa looks for this folder and complains on stderr where there is none.
fn runtime_dir() -> PathBuf {
    let dir = root().join("target/xdg-runtime");
    // Without it nothing is lost but that complaint comes back.
    let _ = std::fs::create_dir_all(&dir);
    dir
}

pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{} ended with {status}", words(command));
    Ok(())
}

/// True when `program` starts and is content.
pub fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    quiet.is_ok_and(|output| output.status.success())
}

pub fn words(command: &Command) -> String {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

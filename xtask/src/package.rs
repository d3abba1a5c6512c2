//! What would be published: the library, its shaders and the short examples, small; and no backend of wgpu, which is the
//! application's to choose.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, cargo};

/// Folders and files of the package; cargo adds some of its own.
const ALLOWED: &[&str] = &[
    "src/",
    "shaders/",
    "examples/",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-",
    "Cargo.",
];
const CARGOS_OWN: &str = ".cargo_vcs_info.json";
/// Also with changes that are not committed.
const LIBRARY: &[&str] = &["--package", "wgpu-attention", "--allow-dirty"];
/// Golden data and records.
const DATA: &[&str] = &[".safetensors", ".json", ".csv", ".png"];
/// Bytes of the compressed package.
const LIMIT: u64 = 500_000;
/// Crates that come with wgpu's backends.
const BACKENDS: &[&str] = &["ash", "glow", "objc2-metal", "windows", "web-sys"];

pub fn check() -> Result<()> {
    let list = output(cargo(&["package", "--list"]).args(LIBRARY))?;
    for file in list.lines() {
        ensure!(
            is_published(file),
            "{file} would be published; leave it out of `include` in Cargo.toml"
        );
    }
    let bytes = size()?;
    ensure!(
        bytes < LIMIT,
        "the package has {bytes} bytes, more than {LIMIT}; leave something out of `include` in Cargo.toml"
    );
    println!("package: {} files, {bytes} bytes", list.lines().count());
    no_backend()
}

fn is_published(file: &str) -> bool {
    let is_data = DATA.iter().any(|end| file.ends_with(end));
    let is_allowed = ALLOWED.iter().any(|start| file.starts_with(start));
    file == CARGOS_OWN || is_allowed && !is_data
}

/// Of the compressed package, which is made in a folder of its own.
fn size() -> Result<u64> {
    let folder = shell::root().join("target/published");
    // Not there at the first run.
    let _ = std::fs::remove_dir_all(&folder);
    let package = ["package", "--no-verify", "--quiet", "--target-dir"];
    shell::run(cargo(&package).arg(&folder).args(LIBRARY))?;
    for entry in folder.join("package").read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "crate") {
            return Ok(path.metadata()?.len());
        }
    }
    bail!("cargo package made no .crate file")
}

fn no_backend() -> Result<()> {
    let all = [
        "tree", "--edges", "normal", "--target", "all", "--prefix", "none",
    ];
    let tree = output(cargo(&all).args(&LIBRARY[..2]))?;
    let found = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .find(|name| BACKENDS.contains(name));
    ensure!(
        found.is_none(),
        "the library alone depends on {}, of a backend of wgpu; its features are for applications to add",
        found.unwrap_or_default()
    );
    println!("dependencies: no backend of wgpu");
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {error}",
        shell::words(command)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

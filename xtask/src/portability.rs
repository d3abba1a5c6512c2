//! The tools of `tests/host/tools.rs`: `spirv-val`, and Tint inside the npm package `webgpu`.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{apt, shell};

/// Dawn's build for Node; pinned, because a newer Tint may refuse what this one accepted.
const WEBGPU: &str = "webgpu@0.6.2";
/// Where `tests/host/tools.rs` looks for it.
const MODULES: &str = "target/tint";

pub fn ensure() -> Result<()> {
    program("spirv-val", "spirv-tools")?;
    program("node", "nodejs")?;
    let modules = shell::root().join(MODULES);
    if !modules.join("node_modules/webgpu").is_dir() {
        // Some packages of Node bring npm along, so it is asked for only now.
        program("npm", "npm")?;
        println!("installing {WEBGPU} into {MODULES}");
        std::fs::create_dir_all(&modules)?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ]);
        shell::run(npm.arg(&modules).arg(WEBGPU).stdin(Stdio::null()))?;
    }
    println!("spirv-val, node and {WEBGPU} are there");
    Ok(())
}

/// Makes sure that `name` starts, from Debian's `package` where there is apt.
fn program(name: &str, package: &str) -> Result<()> {
    if shell::succeeds(name, &["--version"]) {
        return Ok(());
    }
    if !apt::is_here() {
        bail!("{name} must be installed (Debian has it in the package {package})");
    }
    apt::install(&[package])
}

//! The portability tools that are programs of their own: `spirv-val` and Tint (Dawn in Node).
//!
//! Where one is not installed the test says so past the test harness's capture and goes on; with
//! `WGPU_ATTENTION_REQUIRE_TOOLS=1`, which `cargo xtask check` sets, that is a failure.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::Serialize;

/// One composed shader, as Tint is asked about it.
#[derive(Serialize)]
pub struct Shader {
    /// Stands in front of every complaint.
    pub name: String,
    pub wgsl: String,
    pub entry: String,
    /// Uses subgroup built-ins: Tint then needs a directive which naga refuses.
    pub subgroups: bool,
}

/// Checks one module against Vulkan 1.1's rules, the oldest version with subgroups.
pub fn spirv_val(words: &[u32]) -> Result<(), String> {
    if !spirv_val_is_installed() {
        return missing("spirv-val");
    }
    let mut command = Command::new("spirv-val");
    command.args(["--target-env", "vulkan1.1", "-"]);
    let output = feed(&mut command, bytemuck::cast_slice(words)).map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(text(&output.stdout) + &text(&output.stderr))
}

/// Asks Tint, in one process, about every shader; the answer is a complaint each.
pub fn tint(shaders: &[Shader]) -> Result<(), Vec<String>> {
    if !tint_is_installed() {
        return missing("Tint (node and its package webgpu)").map_err(|message| vec![message]);
    }
    let complaints = ask_tint(shaders).map_err(|message| vec![message])?;
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}

pub fn spirv_val_is_installed() -> bool {
    runs("spirv-val")
}

pub fn tint_is_installed() -> bool {
    runs("node") && tint_modules().join("node_modules/webgpu").is_dir()
}

fn ask_tint(shaders: &[Shader]) -> Result<Vec<String>, String> {
    let input = serde_json::to_vec(shaders).map_err(|e| e.to_string())?;
    let mut command = Command::new("node");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/tint.mjs"))
        .arg(tint_modules());
    let output = feed(&mut command, &input).map_err(|e| e.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("tint.mjs gave no answer ({e}): {}", text(&output.stderr)))
}

/// Where `cargo xtask check` installs the npm package.
fn tint_modules() -> PathBuf {
    env::var_os("WGPU_ATTENTION_TINT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tint"),
        PathBuf::from,
    )
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn missing(tool: &str) -> Result<(), String> {
    let message = format!("not run: {tool} is not installed; `cargo xtask check` installs it");
    if env::var_os("WGPU_ATTENTION_REQUIRE_TOOLS").is_some_and(|value| value == "1") {
        return Err(message);
    }
    // Not `eprintln!`: the harness would swallow it in a test that passes.
    let _ = writeln!(io::stderr(), "\n{message}");
    Ok(())
}

/// Runs `command` with `input` on its stdin. Both tools read all of it before they write.
fn feed(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(input));
    let output = child.wait_with_output()?;
    // A tool that died early closed its stdin: its own words say more than a broken pipe.
    if output.status.success() {
        written.map(|()| output)
    } else {
        Ok(output)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! The page: wasm of `tests/browser`, its JavaScript, and what stands beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{
    apt,
    shell::{self, cargo},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler without rustup, and the standard library's source, which it compiles for wasm.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
const LINKER: &str = "wasm-ld-22";
const STD_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.toml";
/// A folder of its own: other flags would compile everything anew.
const FOLDER: &str = "target/browser";

/// Why no page can be built here, if so.
pub fn missing() -> Option<String> {
    let can = has_target() || add_target() || is_installed() || apt::is_here();
    (!can).then(|| {
        format!("it needs Rust's standard library for {TARGET}: rustup target add {TARGET}")
    })
}

/// Builds the page and answers the folder that holds it.
pub fn page() -> Result<PathBuf> {
    let folder = shell::root().join(FOLDER);
    let pages = folder.join("page");
    std::fs::create_dir_all(&pages)?;
    shell::run(quick(compiler()?).args([
        "build",
        "--release",
        "--package",
        "browser",
        "--target",
        TARGET,
    ]))
    .context("the page's wasm")?;
    bindgen(&folder.join(TARGET).join("release/browser.wasm"), &pages)?;
    let beside = shell::root().join("tests/browser/www");
    for name in ["index.html", "page.js"] {
        std::fs::copy(beside.join(name), pages.join(name)).with_context(|| name.to_string())?;
    }
    Ok(pages)
}

/// wasm-bindgen's own program, built here because its version must be that of the page's crate.
fn bindgen(wasm: &Path, pages: &Path) -> Result<()> {
    let manifest = "tests/browser/bindgen/Cargo.toml";
    let mut command = quick(cargo(&[]));
    command.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
        manifest,
        "--",
    ]);
    shell::run(command.arg(wasm).arg(pages)).context("the page's JavaScript")
}

/// Compiles quickly: the time goes into the GPU's work, not into this.
fn quick(mut command: Command) -> Command {
    command
        .env("CARGO_TARGET_DIR", shell::root().join(FOLDER))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    command
}

/// A cargo that can build for wasm: this one, with rustup's help if need be, or Debian's.
fn compiler() -> Result<Command> {
    if has_target() || add_target() {
        return Ok(cargo(&[]));
    }
    if !is_installed() {
        if let Some(why) = missing() {
            bail!("{why}");
        }
        apt::install(&PACKAGES)?;
    }
    Ok(debian())
}

fn add_target() -> bool {
    println!("asking rustup for the standard library for {TARGET}");
    shell::succeeds("rustup", &["target", "add", TARGET])
}

fn has_target() -> bool {
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(shell::root());
    let folder = rustc
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string());
    folder.is_ok_and(|folder| !folder.is_empty() && Path::new(&folder).is_dir())
}

fn is_installed() -> bool {
    Path::new(STD_SOURCE).exists()
        && Path::new("/usr/bin/cargo").exists()
        && shell::succeeds(LINKER, &["--version"])
}

/// Debian has the standard library for wasm as source only; compiling it is not stable yet, hence the permission.
fn debian() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command
        .arg("-Zbuild-std=std,panic_abort")
        .current_dir(shell::root())
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER);
    command
}

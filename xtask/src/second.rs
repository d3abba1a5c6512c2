//! The GPU suite again, on adapters that differ in what the kernels care about: other subgroup
//! widths, and a driver with small limits and no f16.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{adapter, apt, stages::Stages, suites};

/// With the features of the whole workspace, so that nothing is compiled again for this.
const SUITE: &[&str] = &["test", "--release", "--workspace", "--test", "gpu"];
/// The software driver inside Debian's chromium.
const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";

pub fn run(stages: &mut Stages) -> Result<()> {
    if !apt::is_here() {
        println!("\n=== not run: the second adapters, which come from Debian's packages");
        return Ok(());
    }
    stages.report("lavapipe with subgroups of 4: a part of the suite", || {
        lavapipe("128")
    })?;
    stages.report("lavapipe with subgroups of 16: a part of the suite", || {
        lavapipe("512")
    })?;
    stages.report(
        "SwiftShader, 256 invocations and no f16: a part of the suite",
        swiftshader,
    )
}

/// `bits` over 32 is the width of a subgroup; 256 is Mesa's own choice on most machines.
fn lavapipe(bits: &str) -> Result<Vec<String>> {
    let width = [("LP_NATIVE_VECTOR_WIDTH", bits)];
    part_on("llvmpipe", &lavapipe_manifest()?, &width)
}

fn lavapipe_manifest() -> Result<PathBuf> {
    let name = |path: &Path| {
        path.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("lvp_"))
    };
    let found = || adapter::drivers().into_iter().find(|path| name(path));
    if found().is_none() {
        apt::install(&["mesa-vulkan-drivers"])?;
    }
    found().context("the package mesa-vulkan-drivers brought no lvp_icd*.json")
}

fn swiftshader() -> Result<Vec<String>> {
    if !Path::new(SWIFTSHADER).exists() {
        apt::install(&["chromium-common"])?;
    }
    part_on("SwiftShader", Path::new(SWIFTSHADER), &[])
}

/// Every variant with a fifth of the cases, so that all adapters together take a quarter of an hour. `adapter` is a part
/// of the adapter's name, `manifest` the only driver the loader may see.
fn part_on(adapter: &str, manifest: &Path, more: &[(&str, &str)]) -> Result<Vec<String>> {
    suites::run(SUITE, |command| {
        command
            .env("VK_DRIVER_FILES", manifest)
            .env_remove("VK_ICD_FILENAMES")
            .env("WGPU_ATTENTION_ADAPTER", adapter)
            .env("WGPU_ATTENTION_PART", "1")
            .envs(more.iter().copied());
    })
}

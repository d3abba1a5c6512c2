//! The GPU suite again, on adapters that differ in what the kernels care about: other subgroup
//! widths, and a driver with small limits and no f16.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{adapter, apt, stages::Stages, suites};

/// With the features of the whole workspace, so that nothing is compiled again for this.
const SUITE: &[&str] = &["test", "--release", "--workspace", "--test", "gpu"];
/// The software driver inside Debian's chromium.
const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";

/// A driver that the loader may see alone, and the environment that shapes it.
pub struct Driver {
    /// A part of the adapter's name.
    adapter: &'static str,
    manifest: PathBuf,
    more: Option<(&'static str, &'static str)>,
}

impl Driver {
    /// Makes it the only adapter of a program.
    pub fn choose(&self, command: &mut Command) {
        command
            .env("VK_DRIVER_FILES", &self.manifest)
            .env_remove("VK_ICD_FILENAMES")
            .env("WGPU_ATTENTION_ADAPTER", self.adapter)
            .envs(self.more);
    }
}

/// How much of the suite is run there.
#[derive(Clone, Copy)]
pub enum Extent {
    /// A fifth of the cases for each variant.
    Part,
    Whole,
}

/// What another width of subgroups changes: kernels and tiles. The other tests are of the library and its device.
const BY_WIDTH: [&str; 8] = [
    "addresses",
    "covering",
    "decode",
    "forced",
    "hidden",
    "nan",
    "tiles",
    "wide",
];

/// The same kernels under rows that lie elsewhere: for one of the two widths, for the second adapters take half of CI.
const BY_ROWS: [&str; 4] = ["kv_cache", "ragged", "stored", "tree"];

/// What another driver does not change: how the library queues, compiles and measures.
const BY_NO_DRIVER: [&str; 4] = ["budget::", "compile::", "download::", "tune::"];

pub fn run(stages: &mut Stages, extent: Extent) -> Result<()> {
    if !apt::is_here() {
        println!("\n=== not run: the second adapters, which come from Debian's packages");
        return Ok(());
    }
    let [narrow, wide, swift]: [Vec<&str>; 3] = match extent {
        Extent::Part => [
            [&BY_WIDTH[..], &BY_ROWS].concat(),
            BY_WIDTH.to_vec(),
            BY_NO_DRIVER
                .iter()
                .flat_map(|name| ["--skip", name])
                .collect(),
        ],
        Extent::Whole => Default::default(),
    };
    stages.report("the GPU suite on lavapipe with subgroups of 4", || {
        suite_on(&lavapipe("128")?, extent, &narrow)
    })?;
    stages.report("the GPU suite on lavapipe with subgroups of 16", || {
        suite_on(&lavapipe("512")?, extent, &wide)
    })?;
    stages.report(
        "the GPU suite on SwiftShader: 256 invocations and no f16",
        || suite_on(&swiftshader()?, extent, &swift),
    )
}

/// `bits` over 32 is the width of a subgroup; 256 is Mesa's own choice on most machines.
pub fn lavapipe(bits: &'static str) -> Result<Driver> {
    Ok(Driver {
        adapter: "llvmpipe",
        manifest: lavapipe_manifest()?,
        more: Some(("LP_NATIVE_VECTOR_WIDTH", bits)),
    })
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

pub fn swiftshader() -> Result<Driver> {
    if !Path::new(SWIFTSHADER).exists() {
        apt::install(&["chromium-common"])?;
    }
    Ok(Driver {
        adapter: "SwiftShader",
        manifest: SWIFTSHADER.into(),
        more: None,
    })
}

/// `filter` is libtest's: names that a test's holds one of, or those to skip.
fn suite_on(driver: &Driver, extent: Extent, filter: &[&str]) -> Result<Vec<String>> {
    let args = [SUITE, &["--"], filter].concat();
    suites::run(&args, |command| {
        driver.choose(command);
        if let Extent::Part = extent {
            command.env("WGPU_ATTENTION_PART", "1");
        }
    })
}

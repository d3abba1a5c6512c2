//! The adapter, and running the program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use lab::attention::Gpu;

/// The adapter that the suites run on.
pub fn gpu() -> &'static Arc<Gpu> {
    static GPU: OnceLock<Arc<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| {
        let wanted = std::env::var("WGPU_ATTENTION_ADAPTER").ok();
        let adapter = chat::adapter::choose(wanted.as_deref()).expect("an adapter");
        let gpu = chat::device::Gpu::open(&adapter).expect("a device");
        Arc::new(Gpu::new(gpu.attention, gpu.queue, gpu.info.name))
    })
}

/// Of the repository.
pub fn weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")
}

/// An empty folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("lab")
        .join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    folder
}

/// The program with these options, which writes into `out`.
pub fn lab(out: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .args(options)
        .arg("--out")
        .arg(out)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"));
    if let Ok(adapter) = std::env::var("WGPU_ATTENTION_ADAPTER") {
        command.args(["--adapter", &adapter]);
    }
    command
}

/// Panics unless the program ends with status 1 and one sentence that holds every one of `words`.
#[track_caller]
pub fn refused(out: &Path, options: &[&str], words: &[&str]) {
    let output = lab(out, options)
        .output()
        .expect("cargo builds the program for its tests");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one sentence: {stderr}");
    assert!(stderr.ends_with(&format!("{}\n", errors[0])), "{stderr}");
    let all = words.iter().all(|word| errors[0].contains(word));
    assert!(all, "{words:?} in {stderr}");
}

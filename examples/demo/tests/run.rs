//! The demo as a process: its answer is the model's own, and there is a picture. Needs an adapter, software is fine.

use std::path::Path;
use std::process::Command;

#[test]
fn the_demo_agrees_with_the_model_and_draws_its_map() {
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo/attention.png");
    // Not there at the first run.
    let _ = std::fs::remove_file(&picture);
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .arg(&picture)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("cargo builds the demo for its test");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.contains("largest difference"), "{stdout}");
    let bytes = std::fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG"), "{}", picture.display());
}

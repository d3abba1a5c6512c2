//! The program as a process, for a few seconds. Needs an adapter, software is fine.

use std::path::Path;
use std::process::{Command, Output};

use wgpu_attention::Tuning;

fn tune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tune"))
        .args(args)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("cargo builds the program for its tests")
}

#[test]
fn a_class_before_and_after() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuning.json");
    let path = file.to_str().expect("a path of UTF-8");
    let run = tune(&["--only", "decode f32 D=64", "--seconds", "3", path]);
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    assert!(stdout.contains("table ms"), "{stdout}");
    assert!(stdout.contains("decode f32 D=64 Dv=64"), "{stdout}");
    let text = std::fs::read_to_string(&file).expect("the tuning");
    let tuning = Tuning::from_json(&text).expect("a tuning");
    assert_eq!(tuning.rows().len(), 1, "{text}");
    let row = tuning.rows()[0];
    assert!(row.tuned_ns <= row.table_ns, "{row:?}");
}

#[test]
fn words_of_no_class_are_refused() {
    let run = tune(&["--only", "nonsense"]);
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(
        !run.status.success() && stderr.contains("one reads like"),
        "{stderr}"
    );
}

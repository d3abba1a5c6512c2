//! Running an example, which `cargo test` builds beside the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a process left behind.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs an example by its name.
pub fn example(name: &str, args: &[&str]) -> Run {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps");
    let exe = profile
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(&exe)
        .args(args)
        // Some drivers complain on stderr where this is not set.
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; build it with --example {name}", exe.display()));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        status: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Run {
    /// Panics with all that was printed unless the run succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }
}

/// Where an example of a test's own draws its picture; none is there yet.
pub fn picture(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    std::fs::create_dir_all(&directory).expect("a directory for the test");
    let path = directory.join(format!("{name}.png"));
    // Not there at the first run.
    let _ = std::fs::remove_file(&path);
    path
}

/// Panics unless there is a picture.
#[track_caller]
pub fn assert_drawn(path: &Path) {
    let bytes = std::fs::read(path).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG"), "{}", path.display());
}

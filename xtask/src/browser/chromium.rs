//! Chromium without a window.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::{apt, shell};

/// A variable with the program to use instead of the first of these.
const VARIABLE: &str = "WGPU_ATTENTION_BROWSER";
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Why no browser can be opened here, if so.
pub fn missing() -> Option<String> {
    (find().is_none() && !apt::is_here())
        .then(|| format!("there is no Chromium; {VARIABLE} may name one"))
}

/// The browser's program, Debian's if there is none.
pub fn ensure() -> Result<String> {
    if find().is_none() {
        apt::install(&["chromium"])?;
    }
    find().with_context(|| format!("no Chromium was found; {VARIABLE} may name one"))
}

fn find() -> Option<String> {
    let named = std::env::var(VARIABLE).ok();
    let known = PROGRAMS.map(String::from);
    let mut all = named.into_iter().chain(known);
    all.find(|program| shell::succeeds(program, &["--version"]))
}

pub struct Browser {
    process: Child,
    log: PathBuf,
}

/// Opens `url` with WebGPU allowed on whatever adapter there is, a software one too.
pub fn open(program: &str, url: &str) -> Result<Browser> {
    let folder = shell::root().join("target/browser");
    let profile = folder.join("profile");
    // What an earlier run left is of no use, and may be of another version.
    let _ = std::fs::remove_dir_all(&profile);
    let log = folder.join("chromium.log");
    let process = Command::new(program)
        // As root it does not start inside its sandbox; the page is our own.
        .args(["--headless", "--no-sandbox", "--enable-unsafe-webgpu"])
        .args([
            "--no-first-run",
            "--disable-extensions",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    Ok(Browser { process, log })
}

impl Browser {
    /// True once it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    pub fn close(&mut self) {
        // It may have ended; its children end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = read(&self.log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

fn read(log: &Path) -> String {
    std::fs::read(log).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

//! Installing packages on Debian and its children, where that can be done without asking anybody.

use std::{
    process::{Command, Stdio},
    sync::Once,
};

use anyhow::{Result, bail};

use crate::shell;

/// Installs `packages`, or says which command would.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let Some(prefix) = privilege() else {
        bail!("{list} must be installed: sudo apt-get update && sudo apt-get install {list}");
    };
    println!("installing {list}");
    update(prefix)?;
    // What is in the way of a package is for a person to remove.
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    shell::run(apt(prefix, &install).args(packages))
}

pub fn is_here() -> bool {
    shell::succeeds("apt-get", &["--version"])
}

/// What to put in front of apt-get; `None` when it would need a password.
fn privilege() -> Option<&'static [&'static str]> {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if root {
        Some(&[])
    } else {
        shell::succeeds("sudo", &["-n", "true"]).then_some(&["sudo", "-n"])
    }
}

/// Package lists are fetched once per run. An old list may still serve: `install` will tell.
fn update(prefix: &[&str]) -> Result<()> {
    static FRESH: Once = Once::new();
    let mut outcome = Ok(());
    FRESH.call_once(|| outcome = shell::run(&mut apt(prefix, &["update"])));
    outcome
}

fn apt(prefix: &[&str], args: &[&str]) -> Command {
    let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"];
    let patient = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
    let mut words = prefix.iter().chain(&quiet).chain(&patient).chain(args);
    let mut command = Command::new(words.next().unwrap_or(&"env"));
    // dpkg tells of every file it unpacks; what goes wrong is on stderr.
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

//! A file in the making, which takes the place of another only when it is whole. What ends the tool on the way (SIGINT,
//! SIGTERM) removes it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use anyhow::{Context, Result, ensure};

/// The one that is there now. Whoever holds the lock may remove or rename it.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// As of a shell's children: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

fn partial() -> MutexGuard<'static, Option<PathBuf>> {
    PARTIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses a path that nothing can be written to, before anything is computed for it.
pub fn check(path: &Path) -> Result<()> {
    // A name too long is found when it is looked up; the temporary one may be shorter.
    let look_up = |to: &Path| match fs::symlink_metadata(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    };
    replace(path, |file| Ok(fs::write(file, [])?), look_up)
}

/// Lets `write` make a file beside `path`, then gives it that name.
pub fn write(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let rename = |to: &Path| {
        let mut partial = partial();
        if let Some(from) = partial.take() {
            fs::rename(&from, to).inspect_err(|_| *partial = Some(from))?;
        }
        Ok(())
    };
    replace(path, write, rename)
}

fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<()>,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    // Where `path` is a link, the file behind it is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    ensure!(!path.is_dir(), "it is a directory");
    if path.exists() && !path.is_file() {
        return write(&path); // a device or a pipe
    }
    path.file_name().context("it names no file")?;
    // The name of the file may be as long as a name can be, so it is no part of this one.
    let file = path.with_file_name(format!(".attend.{}.partial", process::id()));
    remove_when_interrupted();
    *partial() = Some(file.clone());
    let written = write(&file).and_then(|()| finish(&path));
    if let Some(left) = partial().take() {
        // Not there if it could not be made; the first error is the one to tell.
        let _ = fs::remove_file(left);
    }
    written
}

fn remove_when_interrupted() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let interrupted = || {
            // Held to the end, so that nothing is renamed meanwhile.
            let mut partial = partial();
            if let Some(file) = partial.take() {
                let _ = fs::remove_file(file);
            }
            process::exit(INTERRUPTED);
        };
        // Without a handler the file would be left, which is no reason to compute nothing.
        if let Err(error) = ctrlc::set_handler(interrupted) {
            eprintln!("note: an interrupt may leave a partial file: {error}");
        }
    });
}

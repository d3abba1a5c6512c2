//! Running test suites, with a word now and then of how far they are: on a software adapter the GPU suite takes
//! minutes, and libtest is silent while its long tests run.

use std::{
    io::{self, BufRead, BufReader},
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use anyhow::{Context, Result, ensure};

use crate::{
    progress::{Progress, SILENCE},
    shell::{self, cargo},
};

/// Builds and runs suites by `cargo test` and these arguments; a line for each suite that ran. `adapt` sets the
/// environment of the run.
pub fn run(args: &[&str], adapt: impl FnOnce(&mut Command)) -> Result<Vec<String>> {
    build(args)?;
    let mut command = cargo(args);
    adapt(&mut command);
    // One pipe for both: only so is it certain which suite a line is of.
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let start = command.spawn();
    let mut child = start.with_context(|| format!("cannot start {command:?}"))?;
    let words = shell::words(&command);
    // It holds the ends that must be closed for the pipe to end.
    drop(command);
    let mut progress = Progress::default();
    watch(&lines_of(reader), &mut progress);
    let status = child.wait()?;
    let results = progress.finish();
    ensure!(status.success(), "{words} ended with {status}");
    Ok(results)
}

/// By itself, so that cargo shows on the terminal how far it is.
fn build(args: &[&str]) -> Result<()> {
    let own = args.iter().position(|arg| *arg == "--");
    let (cargos, libtests) = args.split_at(own.unwrap_or(args.len()));
    let mut command = cargo(cargos);
    shell::run(command.arg("--no-run").args(libtests))
}

/// The lines of a pipe, from a thread of their own.
fn lines_of(pipe: io::PipeReader) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_string();
            // Nobody listens any more: the run is over.
            if sender.send(line).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    lines
}

/// Until the pipe is closed.
fn watch(lines: &Receiver<String>, progress: &mut Progress) {
    loop {
        match lines.recv_timeout(SILENCE.saturating_sub(progress.silent_for())) {
            Ok(line) => progress.take(&line),
            Err(RecvTimeoutError::Timeout) => progress.say(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

//! Running test suites, with a word now and then of how far they are: on a software adapter the GPU suite takes
//! minutes, and libtest is silent while its long tests run.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
};

use anyhow::{Context, Result, ensure};

use crate::{
    progress::{Progress, SILENCE},
    shell::{self, cargo},
};

/// A line of the tests' process.
enum Line {
    /// What cargo says of the suites, and what tests say past libtest.
    Err(String),
    /// What libtest says of the tests.
    Out(String),
}

/// Builds and runs suites by `cargo test` and these arguments; a line for each suite that ran. `adapt` sets the
/// environment of the run.
pub fn run(args: &[&str], adapt: impl FnOnce(&mut Command)) -> Result<Vec<String>> {
    build(args)?;
    let mut command = cargo(args);
    adapt(&mut command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = command.spawn();
    let mut child = start.with_context(|| format!("cannot start {command:?}"))?;
    let (sender, lines) = channel();
    forward(child.stdout.take(), sender.clone(), Line::Out);
    forward(child.stderr.take(), sender, Line::Err);
    let mut progress = Progress::default();
    watch(&lines, &mut progress);
    let status = child.wait()?;
    let results = progress.finish();
    ensure!(
        status.success(),
        "{} ended with {status}",
        shell::words(&command)
    );
    Ok(results)
}

/// By itself, so that cargo shows on the terminal how far it is.
fn build(args: &[&str]) -> Result<()> {
    let own = args.iter().position(|arg| *arg == "--");
    let (cargos, libtests) = args.split_at(own.unwrap_or(args.len()));
    let mut command = cargo(cargos);
    shell::run(command.arg("--no-run").args(libtests))
}

/// Sends the lines of a pipe from a thread of their own.
fn forward(
    pipe: Option<impl Read + Send + 'static>,
    to: Sender<Line>,
    line: impl Fn(String) -> Line + Send + 'static,
) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_string();
            // Nobody listens any more: the run is over.
            if to.send(line(text)).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

/// Until both pipes are closed.
fn watch(lines: &Receiver<Line>, progress: &mut Progress) {
    loop {
        match lines.recv_timeout(SILENCE.saturating_sub(progress.silent_for())) {
            Ok(Line::Out(line)) => progress.libtest(&line),
            Ok(Line::Err(line)) => progress.cargo(&line),
            Err(RecvTimeoutError::Timeout) => progress.say(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

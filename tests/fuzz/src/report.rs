//! What was found, told as it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Args;
use crate::guard::guarded;
use crate::kind::{Bench, Done, Kind};

/// The longest silence where no bar is drawn.
const SILENCE: Duration = Duration::from_secs(20);

pub struct Report {
    bar: ProgressBar,
    begun: Instant,
    said: Instant,
    minutes: Option<f64>,
    on: Option<String>,
    note: Option<PathBuf>,
    counts: BTreeMap<Kind, Count>,
    /// Faults by what they say beside numbers, so that one is told once.
    faults: BTreeSet<String>,
    failed: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    held: u64,
    /// Of those held.
    with_gradients: u64,
    refused: u64,
}

impl Report {
    pub fn new(args: &Args, bench: &Bench) -> Self {
        let bar = match (args.minutes, std::io::stderr().is_terminal()) {
            (Some(minutes), true) => ProgressBar::new((60.0 * minutes) as u64),
            _ => ProgressBar::hidden(),
        };
        let style = "{elapsed_precise} [{bar:40}] {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        if let Some(gpu) = &bench.gpu {
            eprintln!("on {}", gpu.about());
        }
        Self {
            bar,
            begun: Instant::now(),
            said: Instant::now(),
            minutes: args.minutes,
            on: args.on.clone(),
            note: args.note.clone(),
            counts: BTreeMap::new(),
            faults: BTreeSet::new(),
            failed: 0,
        }
    }

    /// Runs one case.
    pub fn one(&mut self, bench: &Bench, kind: Kind, seed: u64) {
        let command = self.command(kind, seed);
        if let Some(path) = &self.note {
            // Without the note a crash is told without its seed.
            let _ = std::fs::write(path, &command);
        }
        let patience = kind.patience();
        let hung = {
            let (command, note) = (command.clone(), self.note.clone());
            move || {
                note.map(std::fs::remove_file);
                println!("{command}  # hangs: {} s and more", patience.as_secs());
                std::process::exit(1);
            }
        };
        let outcome = guarded(|| kind.run(bench, seed), patience, hung);
        let count = self.counts.entry(kind).or_default();
        match outcome {
            Ok(Done::Held) => count.held += 1,
            Ok(Done::WithGradients) => {
                (count.held, count.with_gradients) = (count.held + 1, count.with_gradients + 1);
            }
            Ok(Done::Refused) => count.refused += 1,
            Err(fault) => self.fail(&command, &fault),
        }
        self.say();
    }

    /// The one line that runs a case again.
    fn command(&self, kind: Kind, seed: u64) -> String {
        let on = match (&self.on, kind) {
            (Some(on), Kind::Problem) => format!(" --on {on}"),
            _ => String::new(),
        };
        format!("cargo xtask fuzz --only {}{on} --seed {seed}", kind.name())
    }

    fn fail(&mut self, command: &str, fault: &str) {
        self.failed += 1;
        let first = fault.lines().next().unwrap_or_default();
        let words = first.replace(|c: char| c.is_ascii_digit(), "");
        if self.faults.insert(words) {
            self.bar.suspend(|| println!("{command}  # {first}"));
        }
        if self.minutes.is_none() {
            eprintln!("{fault}");
        }
    }

    fn say(&mut self) {
        self.bar.set_position(self.begun.elapsed().as_secs());
        self.bar.set_message(self.counts());
        if self.bar.is_hidden() && self.said.elapsed() >= SILENCE {
            self.said = Instant::now();
            println!("  {} s: {}", self.begun.elapsed().as_secs(), self.counts());
        }
    }

    fn counts(&self) -> String {
        let each = self.counts.iter().map(|(kind, count)| {
            let (name, refused) = (kind.name(), count.refused);
            let gradients = match count.with_gradients {
                0 => String::new(),
                n => format!(" ({n} with gradients)"),
            };
            format!("{name} {} held{gradients}, {refused} refused", count.held)
        });
        let mut all: Vec<String> = each.collect();
        if self.failed > 0 {
            all.push(format!("{} failed", self.failed));
        }
        all.join("; ")
    }

    pub fn finish(self) -> ExitCode {
        self.bar.finish_and_clear();
        if let Some(path) = &self.note {
            // Nobody died.
            let _ = std::fs::remove_file(path);
        }
        println!("{}", self.counts());
        ExitCode::from(u8::from(self.failed > 0))
    }
}

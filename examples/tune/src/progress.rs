//! How far the measurement is, on stderr: a bar on a terminal, else a line for each class.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wgpu_attention::{Trial, TrialOutcome};

/// Parts of a second that the bar moves by.
const PARTS: u64 = 10;

pub struct Progress {
    /// Hides itself where stderr is no terminal.
    bar: ProgressBar,
    start: Instant,
    /// Classes that were begun, and candidates tried.
    begun: usize,
    tried: usize,
}

impl Progress {
    pub fn new(seconds: u32) -> Self {
        let bar = ProgressBar::new(u64::from(seconds) * PARTS);
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent}% {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("the table's tiles");
        Self {
            bar,
            start: Instant::now(),
            begun: 0,
            tried: 0,
        }
    }

    /// A candidate was tried.
    pub fn tell(&mut self, trial: &Trial) {
        self.tried += 1;
        let parts = self.start.elapsed().as_secs_f64() * PARTS as f64;
        self.bar.set_position(parts as u64);
        let class = format!("{}/{} {}", trial.number + 1, trial.classes, trial.class);
        match &trial.outcome {
            TrialOutcome::Measured(ratio) => {
                self.bar.set_message(format!("{class}: {ratio:.2}"));
            }
            TrialOutcome::Wrong => self.say(&format!(
                "{}: {} answers wrongly; `attend --doctor` writes a report",
                trial.class, trial.tiles
            )),
            TrialOutcome::Failed(error) => {
                self.say(&format!("{}: {} fails: {error}", trial.class, trial.tiles));
            }
            _ => {}
        }
        if trial.number + 1 > self.begun {
            self.begun = trial.number + 1;
            if self.bar.is_hidden() {
                eprintln!("{:>5.0} s  {class}", self.start.elapsed().as_secs_f32());
            }
        }
    }

    /// What must be read later too.
    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
        let seconds = self.start.elapsed().as_secs_f32();
        eprintln!("{} candidates in {seconds:.0} s", self.tried);
    }
}

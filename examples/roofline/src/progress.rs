//! How far the measurement is, on stderr: a bar on a terminal, else a line for each row.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::case::Group;
use crate::timing::RUNS;

pub struct Progress {
    /// Hides itself where stderr is no terminal.
    bar: ProgressBar,
    start: Instant,
    rows: usize,
    /// Rows that were begun.
    begun: usize,
}

/// Of the bar, for a row: its check and its runs.
const STEPS: usize = 1 + RUNS;

impl Progress {
    pub fn of(groups: &[Group]) -> Self {
        let rows = groups.iter().map(|group| group.0.len()).sum();
        let bar = ProgressBar::new((rows * STEPS) as u64);
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent}% {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            start: Instant::now(),
            rows,
            begun: 0,
        }
    }

    pub fn ceilings(&self) {
        self.message("ceilings");
    }

    /// A row is put on the device, run once and checked.
    pub fn row(&mut self, label: &str) {
        self.begun += 1;
        self.bar.inc(1);
        self.message(&format!("{}/{} {label}", self.begun, self.rows));
    }

    /// So many rows take turns.
    pub fn timing(&self, rows: usize) {
        self.message(&format!("{}/{} timing {rows} rows", self.begun, self.rows));
    }

    pub fn tick(&self) {
        let most = (self.begun * STEPS) as u64;
        self.bar.set_position((self.bar.position() + 1).min(most));
    }

    /// What must be read later too.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
        let seconds = self.start.elapsed().as_secs_f32();
        eprintln!("{} rows in {seconds:.0} s", self.rows);
    }

    fn message(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{:>5.0} s  {text}", self.start.elapsed().as_secs_f32());
        } else {
            self.bar.set_message(text.to_string());
        }
    }
}

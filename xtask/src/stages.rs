//! A run in stages: one line before each, and at the end how long each took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Default)]
pub struct Stages {
    done: Vec<Stage>,
}

struct Stage {
    name: &'static str,
    took: Duration,
    /// What the stage has to say for the summary, a line each.
    results: Vec<String>,
}

impl Stages {
    /// Runs a stage that has nothing to report but its success.
    pub fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.report(name, || work().map(|()| Vec::new()))
    }

    /// Runs a stage whose results stand in the summary.
    pub fn report(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<()> {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        println!("=== {name}: {:.1} s", took.as_secs_f64());
        let results = outcome.with_context(|| format!("the stage \"{name}\" failed"))?;
        self.done.push(Stage {
            name,
            took,
            results,
        });
        Ok(())
    }

    pub fn summary(&self) {
        println!("\n=== all stages passed");
        for stage in &self.done {
            println!("{:>8.1} s  {}", stage.took.as_secs_f64(), stage.name);
            for line in &stage.results {
                println!("            {line}");
            }
        }
        let total: Duration = self.done.iter().map(|stage| stage.took).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
    }
}

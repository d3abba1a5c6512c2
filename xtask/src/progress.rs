//! How far the suites are, read from what cargo and libtest print.

use std::time::{Duration, Instant};

/// The longest silence.
pub const SILENCE: Duration = Duration::from_secs(10);

pub struct Progress {
    begun: Instant,
    last_said: Instant,
    suite: Suite,
    /// What libtest said at the end of each suite.
    results: Vec<String>,
}

/// The suite that runs.
struct Suite {
    name: String,
    begun: Instant,
    tests: usize,
    done: usize,
    failed: usize,
    /// Tests that libtest finds slow, and when it said so.
    slow: Vec<(String, Instant)>,
}

/// After so long libtest calls a test slow.
const SLOW: Duration = Duration::from_secs(60);

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            last_said: Instant::now(),
            suite: Suite::new("tests"),
            results: Vec::new(),
        }
    }
}

impl Suite {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            begun: Instant::now(),
            tests: 0,
            done: 0,
            failed: 0,
            slow: Vec::new(),
        }
    }

    fn begin(&mut self, tests: usize) {
        self.tests = tests;
        if tests > 0 {
            println!("\n{}: {tests} tests", self.name);
        }
    }

    fn end_of(&mut self, test: &str, outcome: &str) {
        self.done += 1;
        self.slow.retain(|(slow, _)| slow != test);
        if outcome.starts_with("FAILED") {
            self.failed += 1;
            println!("  {test} failed");
        }
    }
}

impl Progress {
    /// A line of the run. Passed tests are counted, all else is handed on.
    pub fn take(&mut self, line: &str) {
        let suite = &mut self.suite;
        if let Some(name) = suite_name(line.trim_start()) {
            *suite = Suite::new(name);
        } else if let Some(count) = tests(line) {
            suite.begin(count);
        } else if let Some(name) = slow(line) {
            suite.slow.push((name.into(), Instant::now()));
        } else if let Some((name, outcome)) = outcome(line) {
            suite.end_of(name, outcome);
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.end(result);
        } else if !is_chatter(line) {
            println!("{line}");
        }
        if self.silent_for() >= SILENCE {
            self.say();
        }
    }

    fn end(&mut self, result: &str) {
        // A suite of no tests, such as the documentation of a program, is nothing to tell.
        if self.suite.tests == 0 {
            return;
        }
        println!("  {result}");
        self.results.push(format!("{}: {result}", self.suite.name));
        self.last_said = Instant::now();
    }

    pub fn silent_for(&self) -> Duration {
        self.last_said.elapsed()
    }

    /// Says how far the suite is.
    pub fn say(&mut self) {
        let suite = &self.suite;
        let mut line = format!(
            "  {} {}: {} of {} tests done in {}",
            clock(self.begun.elapsed()),
            suite.name,
            suite.done,
            suite.tests,
            clock(suite.begun.elapsed())
        );
        if suite.failed > 0 {
            line += &format!(", {} failed", suite.failed);
        }
        for (n, (name, since)) in suite.slow.iter().enumerate() {
            let lead = if n == 0 { "; long: " } else { ", " };
            line += &format!("{lead}{name} for {}", clock(since.elapsed() + SLOW));
        }
        println!("{line}");
        self.last_said = Instant::now();
    }

    /// What libtest said of each suite.
    pub fn finish(self) -> Vec<String> {
        self.results
    }
}

/// `Running tests/gpu/main.rs (target/release/deps/gpu-1a2b)` begins the suite gpu; so does `Doc-tests NAME` one.
fn suite_name(line: &str) -> Option<&str> {
    if line.starts_with("Doc-tests ") {
        return Some(line);
    }
    let (_, binary) = line.strip_prefix("Running ")?.split_once(" (")?;
    let (_, file) = binary.rsplit_once(['/', '\\'])?;
    file.rsplit_once('-').map(|(name, _)| name)
}

/// What cargo repeats of the build.
fn is_chatter(line: &str) -> bool {
    line.is_empty() || line.trim_start().starts_with("Finished ")
}

/// `running 12 tests`
fn tests(line: &str) -> Option<usize> {
    let count = line.strip_prefix("running ")?;
    let count = count
        .strip_suffix(" tests")
        .or_else(|| count.strip_suffix(" test"))?;
    count.parse().ok()
}

/// `test NAME has been running for over 60 seconds`
fn slow(line: &str) -> Option<&str> {
    let (name, _) = line
        .strip_prefix("test ")?
        .split_once(" has been running for over ")?;
    Some(name)
}

/// `test NAME ... ok`, `FAILED` or `ignored, REASON`
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let known = ["ok", "FAILED", "ignored"];
    known
        .iter()
        .any(|word| outcome.starts_with(word))
        .then_some((name, outcome))
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Progress {
        let mut progress = Progress::default();
        progress.take("     Running tests/gpu/main.rs (target/release/deps/gpu-1)");
        lines.iter().for_each(|line| progress.take(line));
        progress
    }

    #[test]
    fn done_failed_and_slow_tests_are_counted() {
        let progress = told(&[
            "running 5 tests",
            "test a::b ... ok",
            "test c has been running for over 60 seconds",
            "test d has been running for over 60 seconds",
            "test e ... FAILED",
            "test f ... ignored, needs a day",
            "test d ... ok",
        ]);
        let suite = &progress.suite;
        assert_eq!(suite.name, "gpu");
        assert_eq!((suite.tests, suite.done, suite.failed), (5, 4, 1));
        assert_eq!(suite.slow.len(), 1);
        assert_eq!(suite.slow[0].0, "c");
    }

    #[test]
    fn a_suite_without_tests_is_not_told() {
        let result = "test result: ok. 0 passed; 0 failed";
        assert!(told(&["running 0 tests", result]).finish().is_empty());
        let one = told(&[
            "running 1 test",
            "test a ... ok",
            "test result: ok. 1 passed",
        ]);
        assert_eq!(one.finish(), ["gpu: ok. 1 passed"]);
    }

    #[test]
    fn what_a_test_prints_is_no_outcome() {
        assert_eq!(outcome("test of the adapter ... lavapipe"), None);
        assert_eq!(outcome("test a ... ok"), Some(("a", "ok")));
    }

    #[test]
    fn suites_have_short_names() {
        let doc = "Doc-tests wgpu_attention";
        assert_eq!(suite_name(doc), Some(doc));
        let unit = "Running unittests src/main.rs (target/release/deps/my_tool-1a2b)";
        assert_eq!(suite_name(unit), Some("my_tool"));
    }
}

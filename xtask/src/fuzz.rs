//! Drawn problems and nonsense, by the program of `tests/fuzz`: once without a device, and once for each adapter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use crate::second::{Driver, lavapipe, swiftshader};
use crate::shell::{self, cargo};
use crate::{adapter, apt, stages::Stages};

/// What needs no device of this process's own.
const HOST: &str = "plan,mods,config,file";
const PROBLEM: &str = "problem";
/// Seeds from one part of a run to the next.
const APART: u64 = 100_000;
const USAGE: &str = "\
cargo xtask fuzz takes --minutes N, and at will --seed S (of the first case), or --only KIND --seed S for one case;
--only KIND is problem, plan, mods, config or file, --on ADAPTER default, lavapipe-4, lavapipe-8, lavapipe-16 or
swiftshader, --profile NAME a profile of cargo (release if not given)";

/// In CI: two minutes from a fixed seed, so that a commit is not judged by luck; nights draw others.
pub fn run(stages: &mut Stages) -> Result<()> {
    let request = Request {
        minutes: Some(2.0),
        seed: 1,
        ..Request::default()
    };
    stages.run("fuzz: drawn problems and nonsense", || request.run())
}

/// `cargo xtask fuzz …`
pub fn command(args: &[&str]) -> Result<()> {
    Request::of(args)?.run()
}

/// What is asked for.
struct Request<'a> {
    minutes: Option<f64>,
    seed: u64,
    only: Option<&'a str>,
    on: Option<&'a str>,
    profile: &'a str,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            minutes: None,
            seed: clock(),
            only: None,
            on: None,
            profile: "release",
        }
    }
}

/// A seed that nobody drew yet.
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() % 1_000_000 * 1000)
}

/// One process: kinds, and the adapter that it sees.
struct Part {
    kinds: String,
    on: &'static str,
    driver: Option<Driver>,
}

impl<'a> Request<'a> {
    fn of(args: &[&'a str]) -> Result<Self> {
        let mut request = Self::default();
        let mut seeded = false;
        let (pairs, rest) = args.as_chunks::<2>();
        ensure!(rest.is_empty(), USAGE);
        for [name, value] in pairs {
            match *name {
                "--minutes" => request.minutes = Some(value.parse().context(USAGE)?),
                "--seed" => (request.seed, seeded) = (value.parse().context(USAGE)?, true),
                "--only" => request.only = Some(value),
                "--on" => request.on = Some(value),
                "--profile" => request.profile = value,
                _ => bail!(USAGE),
            }
        }
        let is_one = request.only.is_some() && seeded;
        ensure!(request.minutes.is_some() || is_one, USAGE);
        Ok(request)
    }

    fn run(&self) -> Result<()> {
        let parts = self.parts()?;
        let program = self.build()?;
        let share = self.minutes.map(|minutes| minutes / parts.len() as f64);
        let mut failed = 0;
        for (n, part) in (0..).zip(&parts) {
            // One case is its seed's on every adapter.
            let apart = if share.is_some() { n * APART } else { 0 };
            failed += u32::from(!self.run_part(&program, part, share, self.seed + apart)?);
        }
        ensure!(
            failed == 0,
            "{failed} of {} parts found faults; each line above that begins with cargo runs one again",
            parts.len()
        );
        Ok(())
    }

    fn parts(&self) -> Result<Vec<Part>> {
        let host = |kinds: &str| Part {
            kinds: kinds.into(),
            on: "default",
            driver: None,
        };
        match self.only {
            Some(PROBLEM) => self.adapters(),
            Some(kinds) => Ok(vec![host(kinds)]),
            None => Ok([vec![host(HOST)], self.adapters()?]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    fn adapters(&self) -> Result<Vec<Part>> {
        adapter::ensure()?;
        let names = match self.on {
            Some(name) => vec![name],
            None if apt::is_here() => vec!["default", "lavapipe-4", "lavapipe-16", "swiftshader"],
            None => {
                println!("not run: other adapters, which come from Debian's packages");
                vec!["default"]
            }
        };
        names.into_iter().map(on).collect()
    }

    /// Builds the program, and tells where it lies.
    fn build(&self) -> Result<PathBuf> {
        // With the features of the whole workspace, so that nothing is compiled again for this.
        let test = || cargo(&["test", "--workspace", "--profile", self.profile, "--no-run"]);
        // The suite of attend brings the tool along.
        shell::run(test().args(["--test", "fuzz", "--test", "cli"]))?;
        let told = test().args(["--test", "fuzz"]).output()?;
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        // `Executable src/main.rs (target/release/deps/fuzz-1a2b)`
        let line = told.lines().find(|line| line.contains("Executable"));
        let path = line.and_then(|line| line.split(['(', ')']).nth(1));
        path.map(|path| shell::root().join(path))
            .with_context(|| format!("cargo does not tell where the program lies: {told}"))
    }

    /// False where it found faults.
    fn run_part(
        &self,
        program: &Path,
        part: &Part,
        minutes: Option<f64>,
        seed: u64,
    ) -> Result<bool> {
        println!("\n{} on {}, from seed {seed}", part.kinds, part.on);
        let note = note();
        // Of a run that was broken off.
        let _ = fs::remove_file(&note);
        let mut command = shell::program(program);
        command.args(["--only", &part.kinds, "--on", part.on]);
        command.args(["--seed", &seed.to_string()]);
        command.arg("--note").arg(&note);
        if let Some(minutes) = minutes {
            command.args(["--minutes", &minutes.to_string()]);
        }
        if let Some(driver) = &part.driver {
            driver.choose(&mut command);
        }
        let status = command.status().context("cannot start the program")?;
        if let (false, Ok(last)) = (status.success(), fs::read_to_string(&note)) {
            println!("{last}  # the process died: {status}");
        }
        Ok(status.success())
    }
}

/// Where the running case is noted; who ends in good order takes it away.
fn note() -> PathBuf {
    shell::root().join("target/fuzz-case.txt")
}

fn on(name: &str) -> Result<Part> {
    let (on, driver) = match name {
        "default" => ("default", None),
        "lavapipe-4" => ("lavapipe-4", Some(lavapipe("128")?)),
        "lavapipe-8" => ("lavapipe-8", Some(lavapipe("256")?)),
        "lavapipe-16" => ("lavapipe-16", Some(lavapipe("512")?)),
        "swiftshader" => ("swiftshader", Some(swiftshader()?)),
        _ => bail!(USAGE),
    };
    Ok(Part {
        kinds: PROBLEM.into(),
        on,
        driver,
    })
}

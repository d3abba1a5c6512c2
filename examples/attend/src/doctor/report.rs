//! The file to attach to an issue, and its few lines for people.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::device::Gpu;

use super::cases::Case;
use super::speed::Speed;

/// Everything that somebody who does not have the adapter must know.
#[derive(Serialize)]
pub struct Report {
    version: &'static str,
    adapter: Adapter,
    /// What plans count on: limits, features, subgroups, quirks.
    caps: String,
    quirks: Vec<String>,
    /// How many cases there are for this device, and how many were right.
    pub cases: usize,
    pub right: usize,
    pub faults: Vec<Fault>,
    pub speeds: Vec<Speed>,
    pub seconds: f64,
    pub device_lost: bool,
    /// The case that ran when the file was written: where the process ended, that one ended it.
    pub running: Option<String>,
}

#[derive(Serialize)]
struct Adapter {
    name: String,
    backend: String,
    driver: String,
    driver_info: String,
    class: String,
    vendor: u32,
    device: u32,
}

/// A case that is wrong or fails.
#[derive(Serialize)]
pub struct Fault {
    case: String,
    /// The kernels of its plan, where it has one.
    kernels: Vec<String>,
    what: String,
}

impl Fault {
    pub fn new(gpu: &Gpu, case: &Case, what: String) -> Self {
        let plan = case.plan(gpu);
        let steps = plan.iter().flat_map(|plan| plan.steps());
        Self {
            case: case.to_string(),
            kernels: steps.map(|step| step.variant().to_string()).collect(),
            what,
        }
    }

    /// Of something that is no case.
    pub fn of(case: &str, what: String) -> Self {
        Self {
            case: case.into(),
            kernels: Vec::new(),
            what,
        }
    }

    pub fn sentence(&self) -> String {
        format!("{}: {}", self.case, self.what)
    }
}

impl Report {
    pub fn new(gpu: &Gpu) -> Self {
        let (info, caps) = (&gpu.info, gpu.attention.caps());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            adapter: Adapter {
                name: info.name.clone(),
                backend: info.backend.to_string(),
                driver: info.driver.clone(),
                driver_info: info.driver_info.clone(),
                class: caps.class.to_string(),
                vendor: info.vendor,
                device: info.device,
            },
            caps: format!("{caps:?}"),
            quirks: caps.quirks.iter().map(ToString::to_string).collect(),
            cases: 0,
            right: 0,
            faults: Vec::new(),
            speeds: Vec::new(),
            seconds: 0.0,
            device_lost: false,
            running: None,
        }
    }

    /// Cases that were run.
    pub fn ran(&self) -> usize {
        self.right + self.faults.len()
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("{} cannot be written; choose another file", file.display()))
    }

    /// What is examined.
    pub fn device(&self) -> String {
        let Adapter {
            name,
            backend,
            driver,
            driver_info,
            class,
            ..
        } = &self.adapter;
        let mut text = format!("{name}, {backend} {driver} {driver_info}, {class}\n");
        for quirk in &self.quirks {
            let _ = writeln!(text, "known: {quirk}");
        }
        text
    }

    /// What came of it.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} of {} cases ran in {:.0} s: {} right, {} wrong or failing\n",
            self.ran(),
            self.cases,
            self.seconds,
            self.right,
            self.faults.len()
        );
        for fault in &self.faults {
            let _ = writeln!(text, "fault: {}", fault.sentence());
        }
        for speed in &self.speeds {
            let _ = writeln!(text, "{speed}");
        }
        text
    }
}

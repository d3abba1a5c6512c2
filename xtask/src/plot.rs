//! The plot of the README, made of the records in `benches/records/`.

mod picture;
mod record;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell;
use picture::Picture;
use record::{Record, Row};

/// A record's file, and what its machine is called in the plot.
const RECORDS: [(&str, &str); 4] = [
    ("lavapipe-22.3.6-cascade-lake", "lavapipe, Cascade Lake"),
    ("lavapipe-22.3.6-zen3", "lavapipe, Zen 3"),
    ("lavapipe-22.3.6-zen4", "lavapipe, Zen 4"),
    ("nvidia-h200", "NVIDIA H200, Vulkan"),
];
/// What is shown of the forward pass: a record's kernel and strategy, and its name.
const WAYS: [(&str, &str, &str); 3] = [
    ("forward", "subgroup", "subgroup"),
    ("forward", "workgroup", "workgroup"),
    ("naive", "workgroup", "matrices in memory"),
];
/// Masks beside the dense row: what the record says, and which share of the pairs is visible.
const DENSITIES: [(&str, f64); 4] = [
    ("density 1/2", 0.5),
    ("density 1/4", 0.25),
    ("density 1/8", 0.125),
    ("density 1/16", 0.0625),
];

/// Writes the picture anew.
pub fn write() -> Result<()> {
    let path = path();
    std::fs::write(&path, speed()?)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn path() -> PathBuf {
    shell::root().join("docs/images/speed.svg")
}

/// Two panels: shares of the ceiling, and times under masks.
fn speed() -> Result<String> {
    let mut picture = Picture::new(860, 392);
    for (machine, (file, name)) in RECORDS.into_iter().enumerate() {
        let record = Record::read(file)?;
        picture.machine(machine, name);
        for (way, (kernel, strategy, _)) in WAYS.iter().enumerate() {
            let row = plain(&record, kernel, strategy)?;
            picture.share(machine, way, row.number("share")?, row.number("gflops")?);
        }
        picture.ratio(machine, 0, causal(&record)?);
        for (n, (density, _)) in DENSITIES.iter().enumerate() {
            let row = record.find(&[("kernel", "block-sparse"), ("params", density)])?;
            picture.ratio(machine, n + 1, row.number("ratio")?);
        }
    }
    Ok(picture.finish())
}

/// A record's row of the left panel.
fn plain<'a>(record: &'a Record, kernel: &str, strategy: &str) -> Result<Row<'a>> {
    record.find(&[
        ("kernel", kernel),
        ("strategy", strategy),
        ("element", "f32"),
        ("mask", "full"),
        ("Nq", "1024"),
        ("D", "64"),
        ("params", ""),
    ])
}

fn causal(record: &Record) -> Result<f64> {
    let row = record.find(&[
        ("kernel", "forward"),
        ("mask", "causal"),
        ("Nq", "4096"),
        ("D", "64"),
    ])?;
    row.number("ratio")
}

#[cfg(test)]
mod tests {
    /// `cargo xtask plot` was run after the last change of a record.
    #[test]
    fn the_committed_plot_is_that_of_the_records() {
        let committed = std::fs::read_to_string(super::path()).unwrap();
        assert!(
            committed == super::speed().unwrap(),
            "docs/images/speed.svg is not what the records say; run `cargo xtask plot`"
        );
    }
}

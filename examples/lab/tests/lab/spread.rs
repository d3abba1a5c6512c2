//! Records of several seeds as one.

use std::fs;
use std::path::PathBuf;

use lab::spread::read;
use lab::zero_shot::{Record, Row};

use super::tool::{folder, lab, refused};

/// A folder with a record of these schemes, lengths and bits.
fn record(name: &str, bytes: usize, rows: &[(&str, usize, f64)]) -> PathBuf {
    let folder = folder(name);
    let row = |&(scheme, len, bits): &(&str, usize, f64)| Row {
        scheme: scheme.into(),
        len,
        bits,
        perplexity: bits.exp2(),
        error: 0.0,
        by_position: Vec::new(),
    };
    let record = Record {
        bytes,
        rows: rows.iter().map(row).collect(),
        ..Record::default()
    };
    let text = serde_json::to_string(&record).unwrap();
    fs::write(folder.join("zero-shot.json"), text).unwrap();
    folder
}

#[test]
fn means_and_ends() {
    let rows = |a, b| [("none", 256, a), ("yarn", 512, b)];
    let folders = [(2.0, 3.0), (2.2, 3.5), (2.4, 3.1)]
        .map(|(a, b)| record(&format!("spread-{a}"), 1024, &rows(a, b)));
    let spread = read(&folders).unwrap();
    assert_eq!(spread.zero_shot[0].bits, [2.0, 2.2, 2.4]);
    assert!((spread.zero_shot[1].mean() - 3.2).abs() < 1e-9);
    assert!((spread.zero_shot[1].half_range() - 0.25).abs() < 1e-9);
    assert!(spread.after.is_empty());
    let out = folder("spread-out");
    let paths = folders.map(|path| path.display().to_string());
    let options = ["spread", &paths[0], &paths[1], &paths[2]];
    let output = lab(&out, &options).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("2.200 ± 0.200"), "{table}");
    assert!(table.contains("3.200 ± 0.250"), "{table}");
    assert!(out.join("lab-spread.svg").exists() && out.join("spread.json").exists());
}

#[test]
fn records_that_do_not_fit() {
    let out = folder("spread-bad");
    let paths = [
        record("spread-a", 1024, &[("none", 256, 2.0)]),
        record("spread-b", 2048, &[("none", 256, 2.0)]),
        record("spread-c", 1024, &[("none", 512, 2.0)]),
        out.join("none"),
    ];
    let [a, b, c, none] = paths.map(|path| path.display().to_string());
    refused(&out, &["spread", &a, &b], &["[1024, 2048]", "one command"]);
    refused(&out, &["spread", &a, &c], &["has no none at 256"]);
    refused(
        &out,
        &["spread", &a, &none],
        &["zero-shot.json", "cannot be read"],
    );
}

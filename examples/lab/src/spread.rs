//! Records of models that differ by seed alone, told as one: means, and how far apart the models are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kept::write_json;
use crate::measure::mean;
use crate::model::TRAINED;
use crate::picture::{Picture, Series};
use crate::{fine_tune, zero_shot};

/// One scheme at one context length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub scheme: String,
    pub len: usize,
    /// Bits per byte of each model, rounded to four digits.
    pub bits: Vec<f64>,
}

/// What was measured of every model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Bytes of text that zero-shot rows are measured on.
    pub bytes: usize,
    pub zero_shot: Vec<Row>,
    /// Bytes of context in fine-tuning; 0 where nothing was fine-tuned.
    pub tuned_at: usize,
    pub before: Vec<Row>,
    pub after: Vec<Row>,
}

/// Scheme, length and bits of one model.
type Cell = (String, usize, f64);

/// The `zero-shot.json` of each folder, and `fine-tune.json` where all have one.
pub fn read(folders: &[PathBuf]) -> Result<Spread> {
    let zero_shot: Vec<zero_shot::Record> = records(folders, "zero-shot.json")?;
    let is_tuned = |folder: &PathBuf| folder.join("fine-tune.json").exists();
    let tuned: Vec<fine_tune::Record> = match folders.iter().all(is_tuned) {
        true => records(folders, "fine-tune.json")?,
        false => Vec::new(),
    };
    let of_zero_shot = |record: &zero_shot::Record| -> Vec<Cell> {
        let rows = record.rows.iter();
        rows.map(|row| (row.scheme.clone(), row.len, row.bits))
            .collect()
    };
    let of_tuned = |record: &fine_tune::Record, after: bool| -> Vec<Cell> {
        let each = record.schemes.iter().flat_map(|tuned| {
            let bits = if after { &tuned.after } else { &tuned.before };
            bits.iter()
                .map(|&(len, bits)| (tuned.scheme.clone(), len, bits))
        });
        each.collect()
    };
    let sides = |after: bool| joined(folders, tuned.iter().map(|x| of_tuned(x, after)).collect());
    let bytes = same("bytes", zero_shot.iter().map(|record| record.bytes))?;
    same(
        "fine-tuned bytes",
        tuned.iter().map(|record| record.measured),
    )?;
    let tuned_at = same(
        "bytes of context in fine-tuning",
        tuned.iter().map(|record| record.len),
    )?;
    Ok(Spread {
        bytes,
        zero_shot: joined(folders, zero_shot.iter().map(of_zero_shot).collect())?,
        tuned_at,
        before: sides(false)?,
        after: sides(true)?,
    })
}

fn records<T: DeserializeOwned>(folders: &[PathBuf], name: &str) -> Result<Vec<T>> {
    let each = folders.iter().map(|folder| {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record", path.display()))
    });
    each.collect()
}

/// What all records have, 0 where there are none.
fn same(what: &str, values: impl Iterator<Item = usize>) -> Result<usize> {
    let values: Vec<_> = values.collect();
    let first = values.first().copied().unwrap_or(0);
    ensure!(
        values.iter().all(|&value| value == first),
        "the records are of other {what}: {values:?}; give those of one command"
    );
    Ok(first)
}

/// Rows of the same scheme and length side by side.
fn joined(folders: &[PathBuf], all: Vec<Vec<Cell>>) -> Result<Vec<Row>> {
    let Some(first) = all.first() else {
        return Ok(Vec::new());
    };
    let row = |(scheme, len, _): &Cell| {
        let find = |(rows, folder): (&Vec<Cell>, &PathBuf)| {
            let found = rows.iter().find(|x| (&x.0, &x.1) == (scheme, len));
            let bits = found.map(|x| (x.2 * 1e4).round() / 1e4);
            bits.with_context(|| {
                format!(
                    "{} has no {scheme} at {len}, which {} has",
                    folder.display(),
                    folders[0].display()
                )
            })
        };
        Ok(Row {
            scheme: scheme.clone(),
            len: *len,
            bits: all.iter().zip(folders).map(find).collect::<Result<_>>()?,
        })
    };
    first.iter().map(row).collect()
}

impl Row {
    pub fn mean(&self) -> f64 {
        mean(&self.bits)
    }

    /// Half of the way from the least to the most.
    pub fn half_range(&self) -> f64 {
        let (least, most) = self.ends();
        (most - least) / 2.0
    }

    fn ends(&self) -> (f64, f64) {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let of = |(a, b): (f64, f64), &x: &f64| (a.min(x), b.max(x));
        self.bits.iter().fold(ends, of)
    }
}

impl Spread {
    /// Schemes down, lengths across.
    pub fn table(&self) -> String {
        let models = self.zero_shot.first().map_or(0, |row| row.bits.len());
        let mut table = format!(
            "bits per byte of {models} models: mean ± half of the way from the least to the most\n"
        );
        table += &part("zero-shot", &self.zero_shot);
        if !self.after.is_empty() {
            table += &part("before fine-tuning", &self.before);
            table += &part(&format!("after, at {}", self.tuned_at), &self.after);
        }
        table
    }

    pub fn write(&self, json: &Path, pictures: &Path) -> Result<()> {
        write_json(json, self)?;
        let series = schemes(&self.zero_shot).into_iter().map(|scheme| {
            let rows = || self.zero_shot.iter().filter(|row| row.scheme == scheme);
            Series {
                points: rows().map(|row| (row.len as f64, row.mean())).collect(),
                bars: rows()
                    .map(|row| (row.len as f64, row.ends().0, row.ends().1))
                    .collect(),
                ..Series::new(scheme)
            }
        });
        let models = self.zero_shot.first().map_or(0, |row| row.bits.len());
        let picture = Picture {
            title: format!("Zero-shot, {models} seeds: bits per byte against the context's length"),
            below: format!(
                "means, and bars from the least to the most; {} bytes that were not learned; trained at {TRAINED}",
                self.bytes
            ),
            x: "bytes of context".into(),
            least: 2.0,
            most: 5.0,
            mark: Some(TRAINED as f64),
            series: series.collect(),
        };
        picture.write(&pictures.join("lab-spread.svg"))
    }
}

fn schemes(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.scheme.as_str()) {
            names.push(&row.scheme);
        }
    }
    names
}

fn part(title: &str, rows: &[Row]) -> String {
    let mut lengths: Vec<_> = rows.iter().map(|row| row.len).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let head: Vec<_> = lengths.iter().map(|len| format!("{len:>15}")).collect();
    let mut table = format!("{title:20}{}\n", head.join(""));
    for scheme in schemes(rows) {
        let cell = |&len: &usize| {
            let row = rows
                .iter()
                .find(|row| row.scheme == scheme && row.len == len);
            row.map_or(String::new(), |row| {
                format!("{:.3} ± {:.3}", row.mean(), row.half_range())
            })
        };
        let cells: Vec<_> = lengths
            .iter()
            .map(|len| format!("{:>15}", cell(len)))
            .collect();
        table += &format!("{scheme:20}{}\n", cells.join(""));
    }
    table
}

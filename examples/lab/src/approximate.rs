//! Fewer tiles: what a pattern, or blocks chosen from the input, cost in quality and save in work.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wgpu_attention::Problem;
use wgpu_attention::problem::{BlockGrid, BlockMask, Blocks, Coverage, Pattern, Select, SelectBy};

use crate::attention::{Gpu, attention, lse};
use crate::effort::{Effort, bar};
use crate::kept::{Kept, write_json};
use crate::measure::{Bits, mean};
use crate::picture::{Picture, Series};
use crate::scheme::{Learned, Scheme};
use crate::text;

/// Positions of a side of a block.
const SIDE: u32 = 32;

/// A way to see less.
#[derive(Clone, Debug)]
enum Way {
    Dense,
    Static(Pattern),
    Chosen(Select),
}

/// One way, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it is one of.
    pub family: String,
    pub way: String,
    /// Bits per byte.
    pub bits: f64,
    /// Tiles that the plan visits over those that dense causal attention does.
    pub share: f64,
    /// Of the dense softmax's weight, in the tiles that are kept: mean over all rows, heads and layers, and the least.
    pub coverage: f64,
    pub least_coverage: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub adapter: String,
    pub model: String,
    pub len: usize,
    /// Bytes that bits are measured on.
    pub bytes: usize,
    pub rows: Vec<Row>,
}

/// The families, each from little to much.
fn ways() -> Result<Vec<(&'static str, String, Way)>> {
    let mut ways = vec![("dense", "causal".to_string(), Way::Dense)];
    let mut add = |family, pattern: Pattern| {
        let name = pattern.name().to_string();
        ways.push((family, name, Way::Static(pattern.under_causal())));
    };
    for left in [63, 127, 255, 511] {
        add("sliding window", Pattern::sliding_window(left, 0));
    }
    for (reach, dilation) in [(64, 2), (64, 4), (128, 4)] {
        add("dilated window", Pattern::dilated_window(reach, dilation));
    }
    for (window, random) in [(1, 1), (2, 2), (4, 4)] {
        add("BigBird", Pattern::big_bird(window, 1, random, 7));
    }
    for window in [64, 128, 256, 512] {
        add("A-shape", Pattern::sinks_and_window(4, window));
    }
    for (family, by) in [
        ("top-k, mean", SelectBy::Mean),
        ("top-k, minmax", SelectBy::MinMax),
    ] {
        for count in [4, 8, 16, 32] {
            let select = Select::new(SIDE, count).with_by(by).with_local(1);
            ways.push((
                family,
                format!("{count} blocks of {SIDE}"),
                Way::Chosen(select),
            ));
        }
    }
    Ok(ways)
}

impl Way {
    fn problem(&self, dense: &Problem) -> Result<Problem> {
        let mut problem = dense.clone();
        problem.mask.blocks = match self {
            Self::Dense => None,
            Self::Static(pattern) => {
                let grid = BlockGrid::of(SIDE, &problem.shape);
                Some(BlockMask::from_pattern(grid, pattern)?.into())
            }
            Self::Chosen(select) => Some(Blocks::Select(*select)),
        };
        Ok(problem)
    }
}

/// Contexts of `len` of the model as `scheme` stretches it.
pub fn measure(gpu: &Arc<Gpu>, kept: &Kept, len: usize, bytes: usize) -> Result<Record> {
    let held_out = text::held_out()?;
    let windows = text::windows(&held_out, len, (bytes / len).max(1))?;
    let scheme = match kept.story.position {
        Learned::Rope => Scheme::DynamicNtk,
        Learned::Alibi => Scheme::AsTrained(Learned::Alibi),
    };
    let ways = ways()?;
    let effort = Effort::measure(gpu, &kept.model, &held_out)?;
    let seconds = effort.seconds(windows.len() * len, len) * ways.len() as f64 * 1.5;
    let bar = bar("approximations", seconds, &gpu.name)?;
    let dense = scheme.problem(1, len, len);
    let tiles = |problem: &Problem| -> Result<f64> {
        let cost = gpu.attention.plan(problem)?.cost();
        Ok(cost.visited as f64 / cost.of.max(1) as f64)
    };
    let all = tiles(&dense)?;
    let mut rows = Vec::new();
    let count = ways.len() as u64;
    for (family, name, way) in ways {
        bar.set_message(name.clone());
        let problem = way.problem(&dense)?;
        let coverages = Mutex::new(Vec::new());
        let attend = |q: &_, k: &_, v: &_| -> Result<_> {
            let [mine, whole] = [&problem, &dense].map(|problem| lse(gpu, problem, q, k, v));
            let coverage = Coverage::of(&mine?, &whole?)?;
            coverages
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(coverage);
            Ok(attention(gpu, &problem, q, k, v)?)
        };
        let plain = |q: &_, k: &_, v: &_| -> Result<_> { Ok(attention(gpu, &problem, q, k, v)?) };
        // Coverage is that of the first window.
        let mut bits = Bits::of(&kept.model, &attend, &windows[..1])?
            .all()
            .to_vec();
        for window in &windows[1..] {
            bits.extend(Bits::of(&kept.model, &plain, &[window])?.all());
        }
        let coverages = coverages
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        rows.push(Row {
            family: family.into(),
            way: name,
            bits: mean(&bits),
            share: tiles(&problem)? / all,
            coverage: mean(&coverages.iter().map(|c| c.mean).collect::<Vec<_>>()),
            least_coverage: coverages.iter().map(|c| c.least).fold(1.0, f64::min),
        });
        bar.inc((seconds * 1000.0) as u64 / count);
    }
    bar.finish_and_clear();
    Ok(Record {
        adapter: gpu.name.clone(),
        model: format!(
            "positions {}, scheme {}",
            kept.story.position.name(),
            scheme.name()
        ),
        len,
        bytes: windows.len() * len,
        rows,
    })
}

impl Record {
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:16}{:28}{:>10}{:>8}{:>10}{:>10}\n",
            "", "", "bits/byte", "tiles", "coverage", "least"
        );
        for row in &self.rows {
            table += &format!(
                "{:16}{:28}{:>10.3}{:>8.3}{:>10.3}{:>10.3}\n",
                row.family, row.way, row.bits, row.share, row.coverage, row.least_coverage
            );
        }
        table
            + &format!(
                "{} at {}, {} bytes, on {}\n",
                self.model, self.len, self.bytes, self.adapter
            )
    }

    pub fn write(&self, json: &Path, pictures: &Path) -> Result<()> {
        write_json(json, self)?;
        let mut series: Vec<Series> = Vec::new();
        for row in &self.rows {
            let point = (row.share, row.bits);
            match series.iter_mut().find(|series| series.name == row.family) {
                Some(series) => series.points.push(point),
                None => series.push(Series {
                    points: vec![point],
                    ..Series::new(&row.family)
                }),
            }
        }
        let low = self
            .rows
            .iter()
            .map(|row| row.bits)
            .fold(f64::MAX, f64::min);
        let least = (low * 50.0).floor() / 50.0;
        let picture = Picture {
            title: format!(
                "Approximations: bits per byte over work, contexts of {}",
                self.len
            ),
            below: format!("{}; {} bytes that were not learned", self.model, self.bytes),
            x: "share of the tiles of dense causal attention".into(),
            least,
            // What loses more is drawn at the edge.
            most: least + 0.05,
            mark: None,
            series,
        };
        picture.write(&pictures.join("lab-approximate.svg"))
    }
}

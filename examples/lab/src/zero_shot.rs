//! The weights as they are, positions changed: bits per byte against context length and against position.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::attention::Gpu;
use crate::effort::{Effort, bar};
use crate::kept::{Kept, write_json};
use crate::longrope;
use crate::measure::{Bits, cut, mean};
use crate::model::TRAINED;
use crate::picture::{Picture, Series};
use crate::scheme::{Learned, Scheme};
use crate::text;

/// Positions of a point of the curves.
pub const SIDE: usize = 256;

/// LongRoPE's factors by context length.
pub type Factors = BTreeMap<usize, Vec<f64>>;

/// One scheme at one context length.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub scheme: String,
    pub len: usize,
    /// Bits per byte.
    pub bits: f64,
    /// Of a byte: 2^bits.
    pub perplexity: f64,
    /// Standard error of how much this differs from the same bytes as trained, in windows of the trained length.
    pub error: f64,
    /// Bits per byte of every 256 positions.
    pub by_position: Vec<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub adapter: String,
    /// Bytes of text that each row is measured on.
    pub bytes: usize,
    pub seconds: f64,
    /// Of these in attention.
    pub attention_seconds: f64,
    pub longrope: Factors,
    pub rows: Vec<Row>,
}

/// What is asked for.
pub struct Asked<'a> {
    pub models: &'a [Kept],
    /// Not learned by the models.
    pub text: &'a [u8],
    pub lengths: &'a [usize],
    pub bytes: usize,
    /// Searched before; what is missing is searched.
    pub longrope: Factors,
}

pub fn measure(gpu: &Arc<Gpu>, asked: Asked<'_>) -> Result<Record> {
    let Asked {
        models,
        text: held_out,
        lengths,
        bytes,
        mut longrope,
    } = asked;
    let longest = lengths.iter().copied().max().unwrap_or(TRAINED);
    let learned = text::train()?;
    let windows = text::windows(held_out, longest, (bytes / longest).max(1))?;
    let bytes = windows.len() * longest;
    let effort = Effort::measure(gpu, &models[0].model, held_out)?;
    let mut seconds = 0.0;
    for Kept { story, .. } in models {
        let schemes =
            Scheme::all(story.position).len() + usize::from(story.position == Learned::Rope);
        let row = |&len: &usize| effort.seconds(bytes, len) * schemes as f64;
        seconds += lengths.iter().map(row).sum::<f64>();
    }
    let searched: Vec<usize> = lengths
        .iter()
        .copied()
        .filter(|&len| len > TRAINED && !longrope.contains_key(&len))
        .collect();
    let search_windows = |len: usize| text::windows(&learned, len, (2048 / len).max(1));
    for &len in &searched {
        seconds += effort.seconds(len.max(2048), len) * longrope::TRIALS as f64;
    }
    let bar = bar("zero-shot", seconds, &gpu.name)?;
    let start = (Instant::now(), gpu.spent());
    let mut rows = Vec::new();
    for Kept { model, story } in models {
        if story.position == Learned::Rope {
            for &len in &searched {
                bar.set_message(format!("searching factors for {len}"));
                let done = (effort.seconds(len.max(2048), len) * 1000.0) as u64;
                let found =
                    longrope::search(gpu, model, &search_windows(len)?, 1, || bar.inc(done))?;
                longrope.insert(len, found);
            }
        }
        let trained = cut(&windows, TRAINED);
        let as_trained = Scheme::AsTrained(story.position);
        let basis = Bits::of(model, &*as_trained.attend(gpu, TRAINED), &trained)?;
        for &len in lengths {
            let mut schemes = Scheme::all(story.position);
            if let (Learned::Rope, Some(factors)) = (story.position, longrope.get(&len)) {
                schemes.push(Scheme::LongRope(factors.clone()));
            }
            for scheme in schemes {
                bar.set_message(format!("{} at {len}", scheme.name()));
                let bits = Bits::of(model, &*scheme.attend(gpu, len), &cut(&windows, len))?;
                bar.inc((effort.seconds(bytes, len) * 1000.0) as u64);
                rows.push(Row {
                    scheme: scheme.name().into(),
                    len,
                    bits: bits.mean(),
                    perplexity: bits.mean().exp2(),
                    error: bits.error_of_difference(&basis, longest),
                    by_position: bits.by_position(SIDE),
                });
            }
        }
    }
    bar.finish_and_clear();
    Ok(Record {
        adapter: gpu.name.clone(),
        bytes,
        seconds: start.0.elapsed().as_secs_f64(),
        attention_seconds: (gpu.spent() - start.1).as_secs_f64(),
        longrope,
        rows,
    })
}

impl Record {
    pub fn find(&self, scheme: &str, len: usize) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.scheme == scheme && row.len == len)
    }

    fn schemes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.scheme.as_str()) {
                names.push(&row.scheme);
            }
        }
        names
    }

    fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<_> = self.rows.iter().map(|row| row.len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// Schemes down, lengths across: bits per byte, and perplexities in brackets.
    pub fn table(&self) -> String {
        let lengths = self.lengths();
        let head: Vec<_> = lengths.iter().map(|len| format!("{len:>14}")).collect();
        let mut table = format!("{:20}{}\n", "bits per byte", head.join(""));
        for scheme in self.schemes() {
            let cell = |&len: &usize| match self.find(scheme, len) {
                Some(row) => format!("{:7.3} ({:4.1})", row.bits, row.perplexity),
                None => String::new(),
            };
            let cells: Vec<_> = lengths
                .iter()
                .map(|len| format!("{:>14}", cell(len)))
                .collect();
            table += &format!("{scheme:20}{}\n", cells.join(""));
        }
        table
            + &format!(
                "{} bytes each on {}; {:.0} s, of these {:.0} % in attention\n",
                self.bytes,
                self.adapter,
                self.seconds,
                100.0 * self.attention_seconds / self.seconds.max(1e-9)
            )
    }

    /// `zero-shot.json` and a picture for each question.
    pub fn write(&self, json: &Path, pictures: &Path) -> Result<()> {
        write_json(json, self)?;
        let series = |points: &dyn Fn(&str) -> Vec<(f64, f64)>| {
            let all = self.schemes().into_iter().map(|scheme| Series {
                points: points(scheme),
                ..Series::new(scheme)
            });
            all.filter(|series| !series.points.is_empty()).collect()
        };
        let picture = |title: &str, x: &str, series| Picture {
            title: title.into(),
            below: format!(
                "bits per byte of {} bytes of a novel that was not learned; trained at {TRAINED}",
                self.bytes
            ),
            x: x.into(),
            least: 2.0,
            most: 5.0,
            mark: Some(TRAINED as f64),
            series,
        };
        let lengths = self.lengths();
        let by_length = series(&|scheme| {
            let rows = lengths.iter().filter_map(|&len| self.find(scheme, len));
            rows.map(|row| (row.len as f64, row.bits)).collect()
        });
        picture(
            "Zero-shot: bits per byte against the context's length",
            "bytes of context",
            by_length,
        )
        .write(&pictures.join("lab-length.svg"))?;
        let longest = lengths.last().copied().unwrap_or(TRAINED);
        let by_position = series(&|scheme| {
            let bits = self
                .find(scheme, longest)
                .map(|row| row.by_position.as_slice());
            let bits = bits.unwrap_or_default().iter().enumerate();
            bits.map(|(n, &bits)| (((n + 1) * SIDE) as f64, bits))
                .collect()
        });
        picture(
            &format!("Zero-shot: bits per byte against position, stretched for {longest}"),
            "position, up to",
            by_position,
        )
        .write(&pictures.join("lab-position.svg"))
    }
}

impl Bits {
    /// Over parts of `side` bytes, in the order of the text.
    fn error_of_difference(&self, other: &Self, side: usize) -> f64 {
        let parts = |bits: &Self| -> Vec<f64> { bits.all().chunks(side).map(mean).collect() };
        let (a, b) = (parts(self), parts(other));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let middle = mean(&differences);
        let squares: Vec<f64> = differences.iter().map(|x| (x - middle).powi(2)).collect();
        (squares.iter().sum::<f64>() / (squares.len().max(2) - 1) as f64 / squares.len() as f64)
            .sqrt()
    }
}

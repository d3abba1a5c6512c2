//! A little training at a longer context, and what it gives.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::attention::Gpu;
use crate::kept::{Kept, write_json};
use crate::measure::{Bits, cut};
use crate::model::TRAINED;
use crate::picture::{Picture, Series};
use crate::scheme::{Learned, Scheme};
use crate::text;
use crate::train::{Recipe, Run};

/// One scheme, before and after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuned {
    pub scheme: String,
    pub steps: usize,
    /// Bytes that were read in training.
    pub bytes: usize,
    pub seconds: f64,
    pub attention_seconds: f64,
    /// Context length and bits per byte.
    pub before: Vec<(usize, f64)>,
    pub after: Vec<(usize, f64)>,
    /// Bits per byte of each step's batch.
    pub losses: Vec<f64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub adapter: String,
    /// Bytes of context in fine-tuning.
    pub len: usize,
    /// Bytes that bits are measured on.
    pub measured: usize,
    pub schemes: Vec<Tuned>,
}

/// What is asked for; `folder` keeps runs between interrupts.
pub struct Asked<'a> {
    pub kept: &'a Kept,
    pub recipe: Recipe,
    pub bytes: usize,
    pub folder: &'a Path,
}

/// Each scheme in turn: stretched for the recipe's length, in training and in every measurement.
pub fn tune(gpu: &Arc<Gpu>, asked: &Asked<'_>) -> Result<Record> {
    let recipe = &asked.recipe;
    let longest = recipe.len * 2;
    let (learned, held_out) = (text::train()?, text::held_out()?);
    let windows = text::windows(&held_out, longest, (asked.bytes / longest).max(1))?;
    let lengths: Vec<usize> = std::iter::successors(Some(TRAINED), |len| Some(len * 2))
        .take_while(|&len| len <= longest)
        .collect();
    let mut record = Record {
        adapter: gpu.name.clone(),
        len: recipe.len,
        measured: windows.len() * longest,
        schemes: Vec::new(),
    };
    let none = Scheme::AsTrained(Learned::Rope);
    for scheme in [Scheme::Linear, Scheme::NtkAware, Scheme::Yarn, none] {
        eprintln!("fine-tuning, {}", scheme.name());
        let attend = scheme.attend(gpu, recipe.len);
        let bits = |model| -> Result<Vec<(usize, f64)>> {
            let of =
                |&len: &usize| Ok((len, Bits::of(model, &*attend, &cut(&windows, len))?.mean()));
            lengths.iter().map(of).collect()
        };
        let before = bits(&asked.kept.model)?;
        let folder = asked.folder.join(scheme.name());
        let mut run = Run::open(&folder, recipe, || asked.kept.model.copied())?;
        run.train(gpu, &scheme, &learned, recipe)?;
        record.schemes.push(Tuned {
            scheme: scheme.name().into(),
            steps: recipe.steps,
            bytes: recipe.steps * recipe.batch * recipe.len,
            seconds: run.progress.seconds,
            attention_seconds: run.progress.attention_seconds,
            before,
            after: bits(&run.model)?,
            losses: run.progress.losses.clone(),
        });
    }
    Ok(record)
}

impl Record {
    pub fn table(&self) -> String {
        let lengths: Vec<usize> = self.schemes.first().map_or(Vec::new(), |tuned| {
            tuned.after.iter().map(|x| x.0).collect()
        });
        let head: Vec<_> = lengths.iter().map(|len| format!("{len:>16}")).collect();
        let mut table = format!(
            "{:10}{}{:>8}{:>10}{:>8}\n",
            "before > after",
            head.join(""),
            "steps",
            "bytes",
            "s"
        );
        for tuned in &self.schemes {
            let cells = tuned.before.iter().zip(&tuned.after);
            let cells: Vec<_> = cells
                .map(|(a, b)| format!("{:>16}", format!("{:.3} > {:.3}", a.1, b.1)))
                .collect();
            table += &format!(
                "{:14}{}{:>8}{:>10}{:>8.0}\n",
                tuned.scheme,
                cells.join(""),
                tuned.steps,
                tuned.bytes,
                tuned.seconds
            );
        }
        table
            + &format!(
                "fine-tuned at {}, {} bytes measured, on {}\n",
                self.len, self.measured, self.adapter
            )
    }

    pub fn write(&self, json: &Path, pictures: &Path) -> Result<()> {
        write_json(json, self)?;
        let points =
            |bits: &[(usize, f64)]| bits.iter().map(|&(len, bits)| (len as f64, bits)).collect();
        let series = |when: &str, of: &dyn Fn(&Tuned) -> Vec<(f64, f64)>| -> Vec<Series> {
            let all = self.schemes.iter().map(|tuned| Series {
                points: of(tuned),
                ..Series::new(&format!("{}, {when}", tuned.scheme))
            });
            all.collect()
        };
        let mut all = series("before", &|tuned| points(&tuned.before));
        all.extend(series("after", &|tuned| points(&tuned.after)));
        let picture = Picture {
            title: format!(
                "Before and after {} steps at {}",
                self.schemes.first().map_or(0, |x| x.steps),
                self.len
            ),
            below: format!(
                "bits per byte of {} bytes that were not learned; stretched for {} throughout",
                self.measured, self.len
            ),
            x: "bytes of context".into(),
            least: 2.0,
            most: 4.0,
            mark: Some(self.len as f64),
            series: all,
        };
        picture.write(&pictures.join("lab-fine-tune.svg"))
    }
}

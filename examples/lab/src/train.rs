//! Training: cross-entropy of the next byte, AdamW, a rate that warms up and falls as a cosine. It goes on where it was
//! interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::loss::cross_entropy;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::attention::Gpu;
use crate::kept::write_json;
use crate::model::Model;
use crate::scheme::Scheme;

/// What a run is told by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub steps: usize,
    /// Sequences of a step.
    pub batch: usize,
    /// Bytes of a sequence.
    pub len: usize,
    /// The highest rate.
    pub rate: f64,
    /// Steps until it is reached.
    pub warm_up: usize,
    pub seed: u64,
}

/// How far a run is, as it is kept between interrupts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub recipe: Option<Recipe>,
    /// Bits per byte of each step's batch.
    pub losses: Vec<f64>,
    pub seconds: f64,
    /// Of these in attention.
    pub attention_seconds: f64,
}

/// A run's state and where it is kept.
pub struct Run {
    pub model: Model,
    pub progress: Progress,
    adam: Adam,
    directory: PathBuf,
}

/// Steps between two times that a run is kept.
const KEEP_EVERY: usize = 25;

impl Run {
    /// Goes on with the run that `directory` keeps, if it is of the same recipe; else begins with `model`.
    pub fn open(
        directory: &Path,
        recipe: &Recipe,
        model: impl FnOnce() -> Result<Model>,
    ) -> Result<Self> {
        let state = directory.join("progress.json");
        let directory = directory.to_path_buf();
        if let Ok(text) = std::fs::read_to_string(&state) {
            let progress: Progress = serde_json::from_str(&text).with_context(|| {
                format!("{} is damaged; remove it to begin anew", state.display())
            })?;
            ensure!(
                progress.recipe.as_ref() == Some(recipe),
                "{} keeps a run of another recipe; remove it, or go on with that one",
                directory.display()
            );
            let [weights, moments] = files(&directory, progress.losses.len());
            return Ok(Self {
                model: Model::load(&weights)?,
                adam: Adam::load(&moments)?,
                progress,
                directory,
            });
        }
        Ok(Self {
            model: model()?,
            adam: Adam::default(),
            progress: Progress {
                recipe: Some(recipe.clone()),
                ..Progress::default()
            },
            directory,
        })
    }

    /// Trains to the recipe's end.
    pub fn train(
        &mut self,
        gpu: &Arc<Gpu>,
        scheme: &Scheme,
        text: &[u8],
        recipe: &Recipe,
    ) -> Result<()> {
        self.train_until(gpu, scheme, text, recipe, recipe.steps)
    }

    /// Trains until so many steps are done, and keeps that.
    pub fn train_until(
        &mut self,
        gpu: &Arc<Gpu>,
        scheme: &Scheme,
        text: &[u8],
        recipe: &Recipe,
        until: usize,
    ) -> Result<()> {
        let attend = scheme.attend(gpu, recipe.len);
        let first = self.progress.losses.len();
        let bar = bar(recipe.steps, first)?;
        for step in first..until {
            let (start, spent) = (Instant::now(), gpu.spent());
            let (inputs, targets) = batch(text, recipe, step)?;
            let logits = self.model.logits(&*attend, &inputs)?;
            let loss = cross_entropy(&logits, &targets)?;
            let gradients = loss.backward()?;
            let rate = recipe.rate_of(step);
            self.adam.step(&self.model, &gradients, rate, step + 1)?;
            let bits = f64::from(loss.to_scalar::<f32>()?) / std::f64::consts::LN_2;
            self.progress.losses.push(bits);
            self.progress.seconds += start.elapsed().as_secs_f64();
            self.progress.attention_seconds += (gpu.spent() - spent).as_secs_f64();
            bar.inc(1);
            bar.set_message(format!("{bits:.3} bits per byte"));
            // The first compiles.
            if step == first + 1 {
                let rest = (until - step - 1) as f64 * start.elapsed().as_secs_f64();
                bar.suspend(|| {
                    eprintln!(
                        "the other {} steps on {} take about {:.0} s; what is done is kept every {KEEP_EVERY} steps",
                        until - step - 1,
                        gpu.name,
                        rest
                    );
                });
            }
            if (step + 1) % KEEP_EVERY == 0 || step + 1 == until {
                self.keep()?;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The files of a step stand beside those of the last one until `progress.json` names it: an interrupt leaves one
    /// state whole.
    fn keep(&self) -> Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let step = self.progress.losses.len();
        let [weights, moments] = files(&self.directory, step);
        self.model.save_as(&weights, DType::F32)?;
        self.adam.save(&moments)?;
        write_json(&self.directory.join("progress.json"), &self.progress)?;
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_old = path.extension().is_some_and(|end| end == "safetensors");
            if is_old && path != weights && path != moments {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Weights and moments after so many steps.
fn files(directory: &Path, step: usize) -> [PathBuf; 2] {
    ["weights", "moments"].map(|name| directory.join(format!("{name}-{step}.safetensors")))
}

impl Recipe {
    fn rate_of(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let part = (step - self.warm_up) as f64 / (self.steps - self.warm_up).max(1) as f64;
        let falling = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        self.rate * (0.1 + 0.9 * falling)
    }
}

/// The sequences of a step, `[B, N]`, and the bytes after each of theirs, `[B · N]`: drawn by seed and step alone.
fn batch(text: &[u8], recipe: &Recipe, step: usize) -> Result<(Tensor, Tensor)> {
    let n = recipe.len;
    ensure!(
        text.len() > n,
        "the text has {} bytes and a context of {n} needs {}; give a longer text or a shorter context",
        text.len(),
        n + 1
    );
    let mut rng =
        StdRng::seed_from_u64(recipe.seed ^ (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..recipe.batch {
        let start = rng.random_range(0..text.len() - n);
        let bytes = text[start..=start + n].iter().map(|&x| u32::from(x));
        inputs.extend(bytes.clone().take(n));
        targets.extend(bytes.skip(1));
    }
    let cpu = &Device::Cpu;
    Ok((
        Tensor::from_vec(inputs, (recipe.batch, n), cpu)?,
        Tensor::from_vec(targets, recipe.batch * n, cpu)?,
    ))
}

fn bar(steps: usize, done: usize) -> Result<ProgressBar> {
    let bar = ProgressBar::new(steps as u64).with_position(done as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} {msg}, {eta} left",
    )?);
    Ok(bar)
}

//! Trained models as files: f16 weights, and beside them a JSON that says how they came about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::scheme::Learned;
use crate::train::Recipe;

/// What is told of a training run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    pub command: String,
    pub adapter: String,
    pub position: Learned,
    pub recipe: Recipe,
    /// Of the whole run.
    pub seconds: f64,
    /// Of these in attention.
    pub attention_seconds: f64,
    /// Bits per byte of the held-out text in the trained context.
    pub held_out: f64,
    /// Bits per byte of each step's batch.
    pub losses: Vec<f64>,
}

/// A model and its story.
pub struct Kept {
    pub model: Model,
    pub story: Story,
}

impl Kept {
    /// `NAME.safetensors` of `folder`, with `NAME.json` beside it; the model must have learned its positions in this way.
    pub fn read(folder: &Path, position: Learned) -> Result<Self> {
        let path = folder.join(format!("{}.safetensors", position.name()));
        let model = Model::load(&path)?;
        let beside = path.with_extension("json");
        let hint = || format!("{} cannot be read; `lab train` writes it", beside.display());
        let text = std::fs::read_to_string(&beside).with_context(hint)?;
        let story: Story = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged; `lab train` writes it anew",
                beside.display()
            )
        })?;
        ensure!(
            story.position == position,
            "{} is of a model with {} positions, not {}",
            beside.display(),
            story.position.name(),
            position.name()
        );
        Ok(Self { model, story })
    }

    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = folder.join(format!("{}.safetensors", self.story.position.name()));
        self.model.save(&path)?;
        write_json(&path.with_extension("json"), &self.story)?;
        Ok(path)
    }
}

/// Written aside first: who is interrupted keeps the file that was there.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let text = serde_json::to_string_pretty(value)?;
    let aside = path.with_extension("new");
    std::fs::write(&aside, text + "\n").with_context(failed)?;
    std::fs::rename(&aside, path).with_context(failed)
}

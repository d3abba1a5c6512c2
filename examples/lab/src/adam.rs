//! AdamW (arXiv 1711.05101) over candle's tensors. candle-nn has one, too, whose moments cannot be kept for a later run.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, safetensors};

use crate::model::Model;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.95;
const EPSILON: f64 = 1e-8;
/// Of matrices; norms are left alone.
const DECAY: f64 = 0.1;
/// The gradient's length at the most.
const CLIP: f64 = 1.0;

/// First and second moments of every weight, by its name.
#[derive(Default)]
pub struct Adam {
    moments: HashMap<String, [Tensor; 2]>,
}

impl Adam {
    /// Moves the weights against their gradients. `step` counts from 1.
    pub fn step(
        &mut self,
        model: &Model,
        gradients: &GradStore,
        rate: f64,
        step: usize,
    ) -> Result<()> {
        let norm = length(model, gradients)?;
        let shrink = (CLIP / norm.max(1e-12)).min(1.0);
        let unbias = |beta: f64| 1.0 / (1.0 - beta.powi(step as i32));
        for (name, var) in model.weights() {
            let Some(gradient) = gradients.get(var.as_tensor()) else {
                continue;
            };
            let gradient = (gradient.detach() * shrink)?;
            let zero = || gradient.zeros_like();
            let [m, v] = match self.moments.remove(name) {
                Some(moments) => moments,
                None => [zero()?, zero()?],
            };
            let m = ((m * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            let v = ((v * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let by = ((&m * unbias(BETA1))? / ((&v * unbias(BETA2))?.sqrt()? + EPSILON)?)?;
            let decay = if var.dims().len() > 1 { DECAY } else { 0.0 };
            let kept = (var.as_tensor().detach() * (1.0 - rate * decay))?;
            var.set(&(kept - (by * rate)?)?)?;
            self.moments.insert(name.to_string(), [m, v]);
        }
        Ok(())
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let named = self.moments.iter().flat_map(|(name, [m, v])| {
            [
                (format!("m.{name}"), m.clone()),
                (format!("v.{name}"), v.clone()),
            ]
        });
        safetensors::save(&named.collect::<HashMap<_, _>>(), path)
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    pub fn load(path: &Path) -> Result<Self> {
        let mut found = safetensors::load(path, &Device::Cpu)?;
        let names: Vec<String> = found
            .keys()
            .filter_map(|name| Some(name.strip_prefix("m.")?.to_string()))
            .collect();
        let mut moments = HashMap::new();
        for name in names {
            let m = found.remove(&format!("m.{name}"));
            let v = found.remove(&format!("v.{name}"));
            let both = m
                .zip(v)
                .with_context(|| format!("{}: half of {name} is missing", path.display()))?;
            moments.insert(name, [both.0, both.1]);
        }
        Ok(Self { moments })
    }
}

/// √ Σ g² over all weights.
fn length(model: &Model, gradients: &GradStore) -> Result<f64> {
    let mut squares = 0.0;
    for (_, var) in model.weights() {
        if let Some(gradient) = gradients.get(var.as_tensor()) {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    Ok(squares.sqrt())
}

//! Bits per byte: how many a coder needs that knows what the model expects; perplexity is 2 to their power.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use candle_nn::ops::log_softmax;

use crate::model::{Attend, Model};

/// Bytes that are computed at once.
const AT_ONCE: usize = 4096;

/// Bits of every byte of some windows of one length.
pub struct Bits {
    len: usize,
    values: Vec<f64>,
}

impl Bits {
    /// Of the bytes after each of the windows' first `len`; each window has `len + 1`.
    pub fn of(model: &Model, attend: &Attend<'_>, windows: &[&[u8]]) -> Result<Self> {
        let len = windows.first().map_or(0, |window| window.len() - 1);
        ensure!(len > 0, "nothing to measure: give a longer text");
        let mut values = Vec::with_capacity(windows.len() * len);
        for some in windows.chunks((AT_ONCE / len).max(1)) {
            let of = |skip: usize| -> Vec<u32> {
                let bytes = some.iter().flat_map(|window| &window[skip..skip + len]);
                bytes.map(|&x| u32::from(x)).collect()
            };
            let inputs = Tensor::from_vec(of(0), (some.len(), len), &Device::Cpu)?;
            let targets = Tensor::from_vec(of(1), (some.len() * len, 1), &Device::Cpu)?;
            let logits = model.logits(attend, &inputs)?.detach();
            let told = log_softmax(&logits, 1)?.gather(&targets, 1)?;
            let told: Vec<f32> = told.flatten_all()?.to_vec1()?;
            let bits = told
                .into_iter()
                .map(|x| -f64::from(x) / std::f64::consts::LN_2);
            values.extend(bits);
        }
        Ok(Self { len, values })
    }

    pub fn mean(&self) -> f64 {
        mean(&self.values)
    }

    /// A window after the other.
    pub fn all(&self) -> &[f64] {
        &self.values
    }

    /// Means over `side` positions each.
    pub fn by_position(&self, side: usize) -> Vec<f64> {
        let starts = (0..self.len).step_by(side);
        let part = |start: usize| -> Vec<f64> {
            let windows = self.values.chunks(self.len);
            let bytes = windows.flat_map(|bits| &bits[start..(start + side).min(self.len)]);
            bytes.copied().collect()
        };
        starts.map(|start| mean(&part(start))).collect()
    }
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Windows of a long context cut into those of a shorter one: all lengths are measured on the same bytes.
pub fn cut<'a>(long: &[&'a [u8]], len: usize) -> Vec<&'a [u8]> {
    let starts = |window: &'a [u8]| {
        (0..window.len() - len)
            .step_by(len)
            .map(move |at| &window[at..=at + len])
    };
    long.iter().flat_map(|window| starts(window)).collect()
}

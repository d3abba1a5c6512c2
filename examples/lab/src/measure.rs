//! Bits per byte: how many a coder needs that knows what the model expects; perplexity is 2 to their power.

use std::sync::Arc;

use anyhow::Result;
use candle_core::{Device, Tensor};
use candle_nn::ops::log_softmax;

use crate::attention::Gpu;
use crate::model::Model;
use crate::scheme::Scheme;

/// Bytes that are computed at once.
const AT_ONCE: usize = 4096;

/// Mean bits of the byte after each place, over windows of N + 1 bytes.
pub fn bits(gpu: &Arc<Gpu>, model: &Model, scheme: &Scheme, windows: &[&[u8]]) -> Result<Vec<f64>> {
    let Some(n) = windows.first().map(|window| window.len() - 1) else {
        return Ok(Vec::new());
    };
    let mut sums = vec![0.0; n];
    for some in windows.chunks((AT_ONCE / n).max(1)) {
        let of = |skip: usize| -> Vec<u32> {
            let bytes = some.iter().flat_map(|window| &window[skip..skip + n]);
            bytes.map(|&x| u32::from(x)).collect()
        };
        let inputs = Tensor::from_vec(of(0), (some.len(), n), &Device::Cpu)?;
        let targets = Tensor::from_vec(of(1), (some.len() * n, 1), &Device::Cpu)?;
        let problem = scheme.problem(some.len(), n);
        let logits = model.logits(gpu, &problem, &inputs)?.detach();
        let told = log_softmax(&logits, 1)?.gather(&targets, 1)?;
        let told: Vec<f32> = told.flatten_all()?.to_vec1()?;
        for (at, told) in told.into_iter().enumerate() {
            sums[at % n] -= f64::from(told) / std::f64::consts::LN_2;
        }
    }
    let count = windows.len() as f64;
    Ok(sums.into_iter().map(|sum| sum / count).collect())
}

pub fn mean(bits: &[f64]) -> f64 {
    bits.iter().sum::<f64>() / bits.len().max(1) as f64
}

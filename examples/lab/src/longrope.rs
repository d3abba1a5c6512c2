//! LongRoPE's factors, one a pair, by a small evolutionary search as the paper's (arXiv 2402.13753, section 3.2).

use std::sync::Arc;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Normal};
use wgpu_attention::problem::position::{RopeKind, Rotary, Yarn};

use crate::attention::Gpu;
use crate::measure::Bits;
use crate::model::{HEAD_DIM, Model, TRAINED};
use crate::scheme::Scheme;

/// Of a generation.
const PARENTS: usize = 4;
const CHILDREN: usize = 8;
pub const GENERATIONS: usize = 4;
/// Factors go up to this times the stretch, as in the paper's search space.
const BEYOND: f64 = 1.25;

/// How often a search measures.
pub const TRIALS: usize = 3 + CHILDREN * GENERATIONS;

/// The best factors for contexts of `len`, on windows of `len + 1` bytes that are not measured later. `tried` is told of
/// each trial.
pub fn search(
    gpu: &Arc<Gpu>,
    model: &Model,
    windows: &[&[u8]],
    seed: u64,
    mut tried: impl FnMut(),
) -> Result<Vec<f64>> {
    let len = windows.first().map_or(TRAINED, |window| window.len() - 1);
    let stretch = len as f64 / TRAINED as f64;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut measured = |factors: Vec<f64>| -> Result<(f64, Vec<f64>)> {
        let scheme = Scheme::LongRope(factors.clone());
        let bits = Bits::of(model, &*scheme.attend(gpu, len), windows)?.mean();
        tried();
        Ok((bits, factors))
    };
    let first = first(stretch)?.into_iter().map(&mut measured);
    let mut best = first.collect::<Result<Vec<_>>>()?;
    for _ in 0..GENERATIONS {
        let parents: Vec<_> = best.iter().map(|(_, factors)| factors.clone()).collect();
        for n in 0..CHILDREN {
            let parent = &parents[rng.random_range(0..parents.len())];
            let other = &parents[rng.random_range(0..parents.len())];
            // Half of them are mutations, half crossings.
            let child = match n % 2 {
                0 => mutated(parent, stretch, &mut rng)?,
                _ => crossed(parent, other, &mut rng),
            };
            best.push(measured(rising(child))?);
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        best.truncate(PARENTS);
    }
    Ok(best.swap_remove(0).1)
}

/// Position interpolation, NTK and YaRN as lists of factors: where the paper's search starts.
fn first(factor: f64) -> Result<[Vec<f64>; 3]> {
    let rotary = Rotary::new(HEAD_DIM as u32);
    let plain = rotary.inv_freq(1)?;
    let factors = |kind: RopeKind| -> Result<Vec<f64>> {
        let stretched = rotary.clone().with_kind(kind).inv_freq(1)?;
        Ok(plain.iter().zip(stretched).map(|(a, b)| a / b).collect())
    };
    Ok([
        factors(RopeKind::Linear { factor })?,
        factors(RopeKind::NtkAware { factor })?,
        factors(RopeKind::Yarn(Yarn::new(factor, TRAINED as u32)))?,
    ])
}

fn mutated(parent: &[f64], stretch: f64, rng: &mut StdRng) -> Result<Vec<f64>> {
    let by = Normal::new(0.0, 0.3)?;
    let change = |x: &f64| match rng.random_bool(0.3) {
        true => (x * f64::exp(by.sample(rng))).clamp(1.0, BEYOND * stretch),
        false => *x,
    };
    Ok(parent.iter().map(change).collect())
}

fn crossed(a: &[f64], b: &[f64], rng: &mut StdRng) -> Vec<f64> {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| if rng.random() { *a } else { *b })
        .collect()
}

/// Slower pairs are never stretched less: the paper's constraint.
fn rising(mut factors: Vec<f64>) -> Vec<f64> {
    let mut least = 1.0_f64;
    for factor in &mut factors {
        least = least.max(*factor);
        *factor = least;
    }
    factors
}

//! How a time is taken: the minimum of [`RUNS`] runs after two that warm up, from submit to completion, with the cases
//! whose times are compared taking turns, so that a slow moment of the machine hits all of them.
//!
//! Where so many runs do not fit into [`BUDGET`] there are fewer, so that a software adapter is done with all rows in
//! minutes: at least [`FEW_RUNS`], or [`FEWEST_RUNS`] of those that take longer than [`LONG`]. The run whose answer was
//! checked is then the first of them, since what warms up in milliseconds does not show in seconds; unless the driver
//! compiled during it.

use anyhow::Result;
use wgpu::CommandEncoder;

use crate::gpu::Gpu;

pub const RUNS: usize = 7;
const WARM_UPS: usize = 2;
/// Milliseconds of work, of all cases together, after which a GPU that slept has reached its clock (an H200: 200).
const AWAKE: f64 = 300.0;
const FEW_RUNS: usize = 3;
const FEWEST_RUNS: usize = 2;
/// Milliseconds for the runs of a case.
const BUDGET: f64 = 2000.0;
/// Milliseconds of a run.
const LONG: f64 = 3000.0;

/// Something that can be recorded any number of times.
pub trait Work {
    fn encode(&self, encoder: &mut CommandEncoder);
}

/// A case that takes turns with others.
pub struct Turn<'a> {
    pub work: &'a dyn Work,
    /// The time of the one run that it has had, if any.
    pub first: Option<f64>,
}

/// The times of one case in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub min: f64,
    pub median: f64,
    pub runs: usize,
}

impl Times {
    fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        let middle = runs.len() / 2;
        let median = match runs.len() % 2 {
            1 => runs[middle],
            _ => f64::midpoint(runs[middle - 1], runs[middle]),
        };
        Self {
            min: runs[0],
            median,
            runs: runs.len(),
        }
    }
}

/// One run of `work`, in milliseconds.
pub fn once(gpu: &Gpu, work: &dyn Work) -> Result<f64> {
    Ok(gpu.time(|encoder| work.encode(encoder))?.as_secs_f64() * 1e3)
}

/// Times all cases in turns; `tick` is called after each run.
pub fn interleaved(gpu: &Gpu, turns: &[Turn<'_>], mut tick: impl FnMut()) -> Result<Vec<Times>> {
    let mut runs = Vec::new();
    let mut spent = 0.0;
    for turn in turns {
        runs.push(warm_up(gpu, turn, &mut spent)?);
    }
    while spent < AWAKE {
        for turn in turns {
            spent += once(gpu, turn.work)?;
        }
    }
    while runs.iter().any(|runs| !suffice(runs)) {
        for (turn, runs) in turns.iter().zip(&mut runs) {
            if !suffice(runs) {
                runs.push(once(gpu, turn.work)?);
                tick();
            }
            // No run of a warm kernel takes twice as long as the next: the driver compiled.
            if let [first, second] = runs[..]
                && Some(first) == turn.first
                && first > 2.0 * second
            {
                runs.remove(0);
            }
        }
    }
    Ok(runs.into_iter().map(Times::of).collect())
}

/// The runs that count already: none, or the first one of a case that takes long.
fn warm_up(gpu: &Gpu, turn: &Turn<'_>, spent: &mut f64) -> Result<Vec<f64>> {
    if let Some(first) = turn.first.filter(|&ms| ms * (RUNS + 1) as f64 > BUDGET) {
        *spent += first;
        return Ok(vec![first]);
    }
    for _ in usize::from(turn.first.is_some())..WARM_UPS {
        *spent += once(gpu, turn.work)?;
    }
    Ok(Vec::new())
}

fn suffice(runs: &[f64]) -> bool {
    let spent: f64 = runs.iter().sum();
    let few = match runs.last() {
        Some(&ms) if ms > LONG => FEWEST_RUNS,
        _ => FEW_RUNS,
    };
    runs.len() >= RUNS || runs.len() >= few && spent >= BUDGET
}

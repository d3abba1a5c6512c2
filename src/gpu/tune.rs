//! Tuning: the tiles that are fastest on this device, measured on it.
//!
//! The table's tiles are the first candidate of every class of problems, the others are a step away from the best so far.
//! One takes its place only if its answers are the same and it was clearly faster, in runs that took turns with it; what won
//! at last takes turns with the table once more, over fresh inputs.

mod bench;
mod inputs;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::plan::{Asked, Plan, PlanOptions};
use crate::tuning::{Class, Row, TunedTiles, Tuning};

use self::bench::{Bench, Candidate};
use super::attention::Attention;
use super::handles::check_queue;

/// Candidates of a class, at most: each is compiled.
const MOST_CANDIDATES: usize = 24;
/// A candidate's share of the best time so far, below which it is taken.
const CLEARLY: f64 = 0.95;
/// The share of the table's time that what won must stay below at last.
const STILL: f64 = 0.97;

/// A candidate that was tried.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// For which problems.
    pub class: Class,
    /// Classes that were done before, and how many there are.
    pub number: usize,
    /// How many classes there are.
    pub classes: usize,
    /// Its tiles.
    pub tiles: TunedTiles,
    /// What came of it.
    pub outcome: TrialOutcome,
}

/// What came of a candidate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrialOutcome {
    /// It was measured: its time over that of the best so far.
    Measured(f64),
    /// Its answers were not those of the table's tiles; a fault of a kernel or of the driver, worth a report
    /// (`attend --doctor`).
    Wrong,
    /// The device refused it.
    Failed(Error),
}

impl Attention {
    /// Measures which tiles are the fastest for the kernels of some plans, for about `seconds`, and returns them as what an
    /// application keeps ([`Tuning::to_json`]) and hands to [`Attention::with_tuning`].
    ///
    /// Never slower than the table: its tiles are a candidate, and others must beat them clearly. The first run of a
    /// candidate compiles it, which on software adapters takes seconds and is not cut off; without time left a class keeps
    /// the table's tiles. It draws inputs of its own, holds its own buffers, and submits to `queue`; the device should have
    /// nothing else to do. The future never blocks its thread. Natively only: a browser gives wasm no clock that the library
    /// could read.
    ///
    /// # Errors
    ///
    /// [`Error::Untunable`] for plans whose tiles are forced or whose inputs cannot be drawn (lengths, positions and pages
    /// that lie on the device); errors of planning and of the device.
    pub async fn tune(&self, queue: &wgpu::Queue, plans: &[Plan], seconds: f32) -> Result<Tuning> {
        self.tune_with(queue, plans, seconds, |_| {}).await
    }

    /// The same, told of every candidate.
    pub async fn tune_with(
        &self,
        queue: &wgpu::Queue,
        plans: &[Plan],
        seconds: f32,
        mut tell: impl FnMut(&Trial),
    ) -> Result<Tuning> {
        if !(seconds > 0.0 && seconds <= 1e6) {
            return Err(Error::Number {
                what: "seconds",
                actual: seconds,
                allowed: "more than 0, at most 1e6",
            });
        }
        check_queue(self.device(), queue)?;
        let tuned = self.tuned(queue, plans, seconds, &mut tell).await;
        self.refuse_lost()?;
        tuned
    }

    async fn tuned(
        &self,
        queue: &wgpu::Queue,
        plans: &[Plan],
        seconds: f32,
        tell: &mut dyn FnMut(&Trial),
    ) -> Result<Tuning> {
        let end = Instant::now() + Duration::from_secs_f32(seconds);
        let mut plain = Vec::with_capacity(plans.len());
        for plan in plans {
            plain.push(without_tuning(plan)?);
        }
        let classes = classes(&plain);
        let mut tuning = Tuning::new(self.caps().adapter.clone());
        let mut number = 0;
        for plan in &plain {
            let new: Vec<Asked> = plan.asked.to_vec();
            let is_new = |asked: &Asked| tuning.get(&asked.class).is_none();
            if !new.iter().any(is_new) {
                continue;
            }
            let bench = Bench::new(self, queue, plan)?;
            // What cannot be drawn is refused before anything is compiled.
            bench.fresh_inputs().await?;
            for asked in new {
                if tuning.get(&asked.class).is_some() {
                    continue;
                }
                let now = Instant::now();
                let left = end.saturating_duration_since(now) / (classes.len() - number) as u32;
                let mut climb = Climb {
                    bench: &bench,
                    tuning: &tuning,
                    asked,
                    end: now + left,
                    tell: &mut |tiles, outcome| {
                        tell(&Trial {
                            class: asked.class,
                            number,
                            classes: classes.len(),
                            tiles,
                            outcome,
                        });
                    },
                };
                let row = climb.run().await?;
                tuning.insert(row);
                number += 1;
            }
        }
        Ok(tuning)
    }
}

/// The plan with the table's tiles, where it has tiles that may be others.
fn without_tuning(plan: &Plan) -> Result<Plan> {
    let plan = plan.again(&PlanOptions {
        tuning: None,
        ..plan.options.clone()
    })?;
    match plan.asked.is_empty() {
        false => Ok(plan),
        true => Err(Error::Untunable {
            reason: "its tiles are forced by its options, it calls functions of the user's, or none of its kernels has \
                     tiles; plan an attention or a gradient with PlanOptions::default()"
                .into(),
        }),
    }
}

fn classes(plans: &[Plan]) -> Vec<Class> {
    let mut all = Vec::new();
    for asked in plans.iter().flat_map(|plan| &plan.asked) {
        if !all.contains(&asked.class) {
            all.push(asked.class);
        }
    }
    all
}

/// The search for one class.
struct Climb<'a> {
    bench: &'a Bench<'a>,
    /// What other classes have.
    tuning: &'a Tuning,
    asked: Asked,
    end: Instant,
    tell: &'a mut dyn FnMut(TunedTiles, TrialOutcome),
}

impl Climb<'_> {
    async fn run(&mut self) -> Result<Row> {
        let table = self.asked.tiles;
        let first = self.candidate(table).await?;
        let mut best = (table, first.clone());
        let mut waiting = self.around(&table);
        let mut tried = vec![table];
        while let Some(tiles) = waiting.pop_front() {
            if Instant::now() >= self.end || tried.len() > MOST_CANDIDATES {
                break;
            }
            if tried.contains(&tiles) {
                continue;
            }
            tried.push(tiles);
            let outcome = self.challenge(tiles, &mut best).await;
            if outcome == Some(TrialOutcome::Failed(Error::DeviceLost)) {
                return Err(Error::DeviceLost);
            }
            if best.0 == tiles {
                waiting = self.around(&tiles);
            }
            if let Some(outcome) = outcome {
                (self.tell)(tiles, outcome);
            }
        }
        let times = self.bench.final_times(&first, &best.1).await?;
        let [table_ns, tuned_ns] = times.map(|time| time.as_nanos() as u64);
        let holds = tuned_ns as f64 <= STILL * table_ns as f64;
        let (tiles, tuned_ns) = match holds && best.0 != table {
            true => (best.0, tuned_ns),
            false => (table, table_ns),
        };
        Ok(Row {
            class: self.asked.class,
            tiles,
            table_ns,
            tuned_ns,
        })
    }

    fn around(&self, tiles: &TunedTiles) -> VecDeque<TunedTiles> {
        let caps = self.bench.caps();
        self.asked.candidates(caps, tiles).into()
    }

    /// Measures tiles against the best; nothing comes of tiles that make the same plan.
    async fn challenge(
        &self,
        tiles: TunedTiles,
        best: &mut (TunedTiles, Arc<Candidate>),
    ) -> Option<TrialOutcome> {
        let candidate = match self.candidate(tiles).await {
            Ok(candidate) => candidate,
            Err(error) => return Some(TrialOutcome::Failed(error)),
        };
        if candidate.is_same(&best.1) {
            return None;
        }
        let outcome = match self.bench.duel(&best.1, &candidate).await {
            Ok(outcome) => outcome,
            Err(error) => TrialOutcome::Failed(error),
        };
        if matches!(outcome, TrialOutcome::Measured(ratio) if ratio < CLEARLY) {
            *best = (tiles, candidate);
        }
        Some(outcome)
    }

    /// The call with these tiles for the class.
    async fn candidate(&self, tiles: TunedTiles) -> Result<Arc<Candidate>> {
        let mut tuning = self.tuning.clone();
        tuning.insert(Row {
            class: self.asked.class,
            tiles,
            table_ns: 0,
            tuned_ns: 0,
        });
        Ok(Arc::new(self.bench.prepare(tuning).await?))
    }
}

//! Running candidates: the same buffers for all of them, runs that take turns, answers that must agree.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::caps::Caps;
use crate::error::Result;
use crate::plan::{Plan, PlanOptions};
use crate::problem::Role;
use crate::tuning::Tuning;

use super::super::attention::Attention;
use super::super::buffers::scoped;
use super::super::call::Call;
use super::super::download::{completed, download};
use super::super::operands::Operands;
use super::TrialOutcome;
use super::inputs::{draw, is_same_answer};

/// Short calls are repeated in one submission for so long, against which the timer's half millisecond is little.
const SAMPLE: Duration = Duration::from_millis(25);
const MOST_REPEATS: u32 = 64;
/// Runs that take turns, and those of the last comparison.
const ROUNDS: u32 = 3;
const FINAL_ROUNDS: u32 = 5;
/// A candidate that is so much slower at its first turn gets no other.
const HOPELESS: f64 = 1.3;

/// A prepared call.
#[derive(Debug)]
pub(super) struct Candidate {
    call: Call,
}

impl Candidate {
    /// True where the device does the same for both.
    pub fn is_same(&self, other: &Self) -> bool {
        self.call.plan().steps() == other.call.plan().steps()
    }
}

/// The operands of one plan.
pub(super) struct Bench<'a> {
    attention: &'a Attention,
    queue: &'a wgpu::Queue,
    plan: &'a Plan,
    buffers: BTreeMap<Role, wgpu::Buffer>,
    /// Inputs that were drawn so far.
    seed: Cell<u64>,
}

impl<'a> Bench<'a> {
    pub fn new(attention: &'a Attention, queue: &'a wgpu::Queue, plan: &'a Plan) -> Result<Self> {
        let device = attention.device();
        let buffer = |role: Role, bytes: u64| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(role.name()),
                size: bytes.next_multiple_of(4).max(4),
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let needs = plan.requirements().iter();
        let buffers = needs.map(|need| (need.role, buffer(need.role, need.bytes)));
        Ok(Self {
            attention,
            queue,
            plan,
            buffers: buffers.collect(),
            seed: Cell::new(0),
        })
    }

    pub fn caps(&self) -> &Caps {
        &self.plan.caps
    }

    /// The plan with the tuning's tiles, compiled and bound.
    pub async fn prepare(&self, tuning: Tuning) -> Result<Candidate> {
        let plan = self.plan.again(&PlanOptions {
            tuning: Some(Arc::new(tuning)),
            ..self.plan.options.clone()
        })?;
        let mut operands = Operands::default();
        for (role, buffer) in &self.buffers {
            operands = operands.with(*role, buffer);
        }
        let call = self.attention.prepare(&plan, &operands).await?;
        Ok(Candidate { call })
    }

    /// A candidate against the best so far, over fresh inputs: the same answers, and the times of runs that take turns.
    pub async fn duel(&self, best: &Candidate, candidate: &Candidate) -> Result<TrialOutcome> {
        self.fresh_inputs().await?;
        let expected = self.answers(best).await?;
        let actual = self.answers(candidate).await?;
        for (role, expected) in &expected {
            let same = |actual: &Vec<u8>| is_same_answer(self.plan, *role, actual, expected);
            if !actual.get(role).is_some_and(same) {
                return Ok(TrialOutcome::Wrong);
            }
        }
        let [best, candidate] = self.times([best, candidate], ROUNDS).await?;
        Ok(TrialOutcome::Measured(
            candidate.as_secs_f64() / best.as_secs_f64().max(1e-9),
        ))
    }

    /// What the table's call and the best one take, over inputs that were not seen before.
    pub async fn final_times(&self, table: &Candidate, best: &Candidate) -> Result<[Duration; 2]> {
        self.fresh_inputs().await?;
        if table.is_same(best) {
            let time = self.times([table, table], 1).await?;
            return Ok([time[0].min(time[1]); 2]);
        }
        self.times([table, best], FINAL_ROUNDS).await
    }

    /// The least time of each, by turns.
    async fn times(&self, of: [&Candidate; 2], rounds: u32) -> Result<[Duration; 2]> {
        // The first submission after a pause, and a driver that compiles at the first dispatch.
        for candidate in of {
            self.run(candidate, 1).await?;
        }
        let once = self.run(of[0], 1).await?.max(Duration::from_micros(1));
        let repeats = SAMPLE.as_secs_f64() / once.as_secs_f64();
        let repeats = (repeats.ceil() as u32).clamp(1, MOST_REPEATS);
        let mut least = [Duration::MAX; 2];
        for round in 0..rounds {
            for (candidate, least) in of.into_iter().zip(&mut least) {
                *least = self.run(candidate, repeats).await?.min(*least);
            }
            let [first, second] = least.map(|time| time.as_secs_f64());
            if round == 0 && second > HOPELESS * first {
                break;
            }
        }
        Ok(least)
    }

    /// The time of one run of so many in a submission.
    async fn run(&self, candidate: &Candidate, repeats: u32) -> Result<Duration> {
        let device = self.attention.device();
        let start = scoped(device, "measuring a call", || {
            let mut encoder = device.create_command_encoder(&Default::default());
            for _ in 0..repeats {
                candidate.call.encode(&mut encoder);
            }
            let commands = encoder.finish();
            let start = Instant::now();
            self.queue.submit([commands]);
            start
        })
        .await?;
        completed(device, self.queue).await?;
        Ok(start.elapsed() / repeats)
    }

    /// What a call writes over buffers that hold NaN.
    async fn answers(&self, candidate: &Candidate) -> Result<BTreeMap<Role, Vec<u8>>> {
        let outputs = self.plan.requirements().iter().filter(|need| need.output);
        let outputs = outputs.filter_map(|need| Some((need.role, self.buffers.get(&need.role)?)));
        let outputs: Vec<_> = outputs.collect();
        for (_, buffer) in &outputs {
            let poison = vec![0xFF; buffer.size() as usize];
            self.write(buffer, &poison).await?;
        }
        self.run(candidate, 1).await?;
        let mut answers = BTreeMap::new();
        for (role, buffer) in outputs {
            let bytes = download(self.attention.device(), self.queue, buffer).await?;
            answers.insert(role, bytes);
        }
        Ok(answers)
    }

    pub async fn fresh_inputs(&self) -> Result<()> {
        self.seed.set(self.seed.get() + 1);
        for need in self.plan.requirements().iter().filter(|need| !need.output) {
            let Some(buffer) = self.buffers.get(&need.role) else {
                continue;
            };
            let bytes = draw(self.plan, need.role, buffer.size(), self.seed.get())?;
            self.write(buffer, &bytes).await?;
        }
        Ok(())
    }

    async fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        scoped(self.attention.device(), "drawing inputs", || {
            self.queue.write_buffer(buffer, 0, bytes);
        })
        .await
    }
}

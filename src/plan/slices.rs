//! A plan cut into slices that take no longer than a budget: whole workgroups of its steps, in order. Every kernel numbers its
//! workgroups from `work.begin`, so that any step runs in pieces with nothing planned or compiled anew, and to the same bits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use crate::caps::AdapterClass;

use super::budget::Budget;
use super::pace::{Pace, assumed};
use super::{Plan, Step};

/// Some workgroups of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The step's number.
    pub step: usize,
    /// Its workgroups.
    pub workgroups: Range<u64>,
}

/// What one submit takes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Slice {
    /// Workgroups of steps, in order.
    pub pieces: Vec<Piece>,
    /// How long they are expected to take.
    pub expected: Duration,
    /// Kernels, and the seconds assumed of each.
    pub(crate) work: Vec<(u64, f64)>,
}

/// A step as it is sliced.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Whose speed it tells.
    pub kernel: u64,
    /// How many it has.
    pub workgroups: u64,
    /// Assumed, of all of them.
    pub seconds: f64,
}

/// Of a budget what is planned with: no two slices take the same time.
const SHARE: f64 = 0.8;

/// Where the slices of a call have come to.
#[derive(Clone, Debug)]
pub struct Slicer {
    loads: Vec<Load>,
    /// Workgroups that run beside each other: slices are multiples of as many.
    beside: u64,
    step: usize,
    workgroup: u64,
}

impl Slicer {
    /// Slices are multiples of the workgroups that run beside each other, where they have as many.
    pub fn new(loads: Vec<Load>, beside: u64) -> Self {
        let mut slicer = Self {
            loads,
            beside: beside.max(1),
            step: 0,
            workgroup: 0,
        };
        slicer.skip_empty();
        slicer
    }

    /// Of a plan's steps.
    pub fn of(plan: &Plan) -> Self {
        let load = |step: &Step| Load {
            kernel: kernel_of(plan, step),
            workgroups: step.workgroups(),
            seconds: assumed(plan.caps.class, &step.cost),
        };
        Self::new(
            plan.steps.iter().map(load).collect(),
            beside(plan.caps.class),
        )
    }

    /// The workgroups that come next and are expected to take no longer than the budget: one at the least.
    pub fn next(&mut self, budget: Budget, pace: &Pace) -> Option<Slice> {
        let mut left = budget.seconds() * SHARE;
        let (mut pieces, mut work, mut expected) = (Vec::new(), Vec::new(), 0.0);
        while let Some(load) = self.loads.get(self.step) {
            let assumed = load.seconds / load.workgroups as f64;
            let each = assumed * pace.slowness(load.kernel);
            let there = load.workgroups - self.workgroup;
            let count = match self.fitting(there, left / each) {
                0 if pieces.is_empty() => 1,
                0 => break,
                count => count,
            };
            let workgroups = self.workgroup..self.workgroup + count;
            left -= count as f64 * each;
            expected += count as f64 * each;
            work.push((load.kernel, count as f64 * assumed));
            pieces.push(Piece {
                step: self.step,
                workgroups,
            });
            self.workgroup += count;
            if count < there {
                break;
            }
            (self.step, self.workgroup) = (self.step + 1, 0);
            self.skip_empty();
        }
        (!pieces.is_empty()).then(|| Slice {
            pieces,
            expected: Duration::try_from_secs_f64(expected).unwrap_or(Duration::MAX),
            work,
        })
    }

    /// Of `there` workgroups as many as `most`: all, or a multiple of those that run beside each other.
    fn fitting(&self, there: u64, most: f64) -> u64 {
        // A cast saturates.
        let most = most as u64;
        if most >= there {
            return there;
        }
        match most / self.beside * self.beside {
            0 => most,
            whole => whole,
        }
    }

    fn skip_empty(&mut self) {
        while self
            .loads
            .get(self.step)
            .is_some_and(|load| load.workgroups == 0)
        {
            self.step += 1;
        }
    }

    /// All of it has been sliced.
    pub fn is_done(&self) -> bool {
        self.step >= self.loads.len()
    }

    /// Seconds from here to the end, each load's times `factor`.
    fn seconds_left(&self, factor: impl Fn(u64) -> f64) -> f64 {
        let loads = self.loads.iter().enumerate().skip(self.step);
        loads
            .map(|(n, load)| {
                let before = if n == self.step { self.workgroup } else { 0 };
                let share = 1.0 - before as f64 / load.workgroups.max(1) as f64;
                load.seconds * share * factor(load.kernel)
            })
            .sum()
    }

    /// How long the rest is expected to take.
    pub fn remaining(&self, pace: &Pace) -> Duration {
        let seconds = self.seconds_left(|kernel| pace.slowness(kernel));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The share that has been sliced, from 0 to 1.
    pub fn progress(&self) -> f32 {
        if self.is_done() {
            return 1.0;
        }
        let all: f64 = self.loads.iter().map(|load| load.seconds).sum();
        (1.0 - self.seconds_left(|_| 1.0) / all).clamp(0.0, 1.0) as f32
    }
}

/// Workgroups that a software adapter runs at the same time. Of a GPU's a slice has many more.
fn beside(class: AdapterClass) -> u64 {
    match class {
        AdapterClass::Cpu => std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        AdapterClass::Integrated | AdapterClass::Discrete => 1,
    }
}

/// Kernels are told apart as their pipelines are.
fn kernel_of(plan: &Plan, step: &Step) -> u64 {
    let mut hasher = DefaultHasher::new();
    step.variant.hash(&mut hasher);
    plan.mods()
        .filter(|_| step.variant.uses_mods())
        .hash(&mut hasher);
    hasher.finish()
}

impl Step {
    /// Workgroups of its grid that have work.
    pub(crate) fn workgroups(&self) -> u64 {
        let [x, y, z] = self.grid.map(u64::from);
        let work = &self.params.work;
        match self.items {
            0 => x * y * z,
            items => u64::from(work.end - work.begin)
                .div_ceil(items.into())
                .min(x * y * z),
        }
    }

    /// Where the numbers of these workgroups begin and end, and the grid that holds them.
    #[cfg(feature = "wgpu")]
    pub(crate) fn piece(&self, workgroups: &Range<u64>) -> (Range<u32>, [u32; 3]) {
        let work = &self.params.work;
        let number = |group: u64| {
            let items = group * u64::from(self.items);
            u64::from(work.begin)
                .saturating_add(items)
                .min(work.end.into()) as u32
        };
        let count = workgroups.end - workgroups.start;
        let x = count.min(self.grid[0].into());
        let y = count.div_ceil(x.max(1));
        (
            number(workgroups.start)..number(workgroups.end),
            [x as u32, y as u32, 1],
        )
    }
}

impl Plan {
    /// How long each step takes on a device as fast as its class is taken to be: FLOPs, or bytes where there are none, over
    /// what is assumed of them per second. `Attention::slices` tells what was measured.
    pub fn expected_times(&self) -> Vec<Duration> {
        let time = |step: &Step| Duration::from_secs_f64(assumed(self.caps.class, &step.cost));
        self.steps.iter().map(time).collect()
    }

    /// The slices of a budget on a device of that speed: what `Call::run_within` begins with is several times smaller, and
    /// what it goes on with is as the device turns out. One per workgroup at the most.
    pub fn slices(&self, budget: Budget) -> Vec<Slice> {
        let (mut slicer, pace) = self.supposed();
        std::iter::from_fn(|| slicer.next(budget, &pace)).collect()
    }

    /// Where its slices begin, on a device as fast as is assumed.
    pub(super) fn supposed(&self) -> (Slicer, Pace) {
        let (slicer, mut pace) = (Slicer::of(self), Pace::default());
        for load in &slicer.loads {
            pace.suppose(load.kernel);
        }
        (slicer, pace)
    }
}

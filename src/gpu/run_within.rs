//! A call in slices that each keep to a time: an application records one per frame.

use std::borrow::BorrowMut;
use std::time::Duration;

use crate::plan::{Budget, Plan, Slice, Slicer};

use super::attention::Attention;
use super::call::Call;

/// A call on its way, slice by slice. It borrows the call, or owns it where it is to be kept across frames. Dropped half-way it
/// leaves the call as it was prepared, and outputs in part.
///
/// Slices are whole workgroups of the plan's steps, so the bits are those of one submit. The first ones take a device
/// to be several times slower than its class; later ones know how long those before took. That is exact where the device has
/// `Features::TIMESTAMP_QUERY`. Else it is the time from recording to the moment a poll of the application's tells
/// that the work is done (none in browsers): whoever polls once per frame sees frames, and gets smaller slices than the
/// device could do.
///
/// A slice is one workgroup at the least. One over many keys may take longer than a short budget on a slow device:
/// [`PlanOptions::within`](crate::PlanOptions::within) tells the planner to split keys.
#[derive(Debug)]
pub struct RunWithin<C = Call> {
    call: C,
    budget: Budget,
    slicer: Slicer,
    period: f32,
}

impl Call {
    /// Begins a run in slices of no more than `budget`. The queue tells what its timestamps count; nothing is submitted.
    pub fn run_within(&mut self, queue: &wgpu::Queue, budget: Budget) -> RunWithin<&mut Self> {
        RunWithin::new(self, queue, budget)
    }
}

impl<C: BorrowMut<Call>> RunWithin<C> {
    /// The same of a call of one's own.
    pub fn new(call: C, queue: &wgpu::Queue, budget: Budget) -> Self {
        let slicer = Slicer::of(call.borrow().plan());
        let period = queue.get_timestamp_period();
        Self {
            call,
            budget,
            slicer,
            period,
        }
    }

    /// Records the next slice and tells what it is; none once all are recorded. Slices go to the queue in the order in which they
    /// were recorded, each in a submit of its own or beside other work.
    pub fn encode_next(&mut self, encoder: &mut wgpu::CommandEncoder) -> Option<Slice> {
        let call: &Call = self.call.borrow();
        let clock = &call.shared.clock;
        clock.learn(&call.device);
        let slice = self.slicer.next(self.budget, &clock.pace())?;
        let _span = tracing::debug_span!("encode", expected = ?slice.expected).entered();
        let slot = clock.slot(&call.device);
        let stamps = slot.as_ref().map(|slot| slot.writes());
        call.encode_pieces(encoder, &slice.pieces, stamps);
        clock.watch(encoder, slot, self.period, slice.work.clone());
        Some(slice)
    }

    /// The slices that come next may take so long.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// The share of the work that is recorded, from 0 to 1.
    pub fn progress(&self) -> f32 {
        self.slicer.progress()
    }

    /// How long the device is expected to need for the rest.
    pub fn remaining(&self) -> Duration {
        self.slicer
            .remaining(&self.call.borrow().shared.clock.pace())
    }

    /// True once all slices are recorded.
    pub fn is_done(&self) -> bool {
        self.slicer.is_done()
    }

    /// The call, which can be run again.
    pub fn into_call(self) -> C {
        self.call
    }
}

impl Attention {
    /// The slices of a plan as this device is known so far: by what calls in slices took on it, else four times what its
    /// class is taken to need.
    pub fn slices(&self, plan: &Plan, budget: Budget) -> Vec<Slice> {
        let clock = self.clock();
        clock.learn(self.device());
        let (mut slicer, pace) = (Slicer::of(plan), clock.pace());
        std::iter::from_fn(|| slicer.next(budget, &pace)).collect()
    }
}

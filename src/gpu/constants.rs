//! Parameters and small operands that dropped calls leave for the next call of the same plan: what `prepare` would
//! write anew is in them already. What the device itself writes among the small operands it writes anew in each call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::Variant;
use crate::plan::{AuxCopy, Plan};

use super::buffers::filled;
use super::count::{Count, Counted};

/// Bytes that wait for a call, at most; the longest waiting go first.
const MOST_WAITING: u64 = 16 << 20;

/// All that decides what the two buffers hold, and who writes to them.
#[derive(Debug, PartialEq)]
struct Contents {
    aux: Vec<u32>,
    copies: Vec<AuxCopy>,
    variants: Vec<Variant>,
    params: Vec<u8>,
}

/// The small operands and the parameters of a call.
#[derive(Debug)]
pub(super) struct Constants {
    contents: Contents,
    pub aux: wgpu::Buffer,
    pub params: wgpu::Buffer,
    /// While a call holds them.
    counted: Option<Counted>,
}

impl Constants {
    fn bytes(&self) -> u64 {
        self.aux.size() + self.params.size()
    }
}

/// Those that wait, the one that waits longest first.
#[derive(Debug, Default)]
pub(super) struct ConstantsArena {
    waiting: Mutex<Vec<Constants>>,
    /// Bytes that calls hold.
    taken: Count,
}

impl ConstantsArena {
    /// Buffers of these contents: waiting ones where there are such.
    pub fn take(&self, device: &wgpu::Device, plan: &Plan, params: Vec<u8>) -> Constants {
        let mut constants = self.found_or_made(device, plan, params);
        constants.counted = Some(self.taken.add(constants.bytes()));
        constants
    }

    fn found_or_made(&self, device: &wgpu::Device, plan: &Plan, params: Vec<u8>) -> Constants {
        let contents = Contents {
            aux: plan.aux.clone(),
            copies: plan.copies.clone(),
            variants: plan.steps().iter().map(|step| step.variant).collect(),
            params,
        };
        let mut waiting = self.lock();
        let same = waiting.iter().position(|known| known.contents == contents);
        if let Some(n) = same {
            return waiting.remove(n);
        }
        drop(waiting);
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        Constants {
            aux: filled(device, "aux", storage, bytemuck::cast_slice(&contents.aux)),
            params: filled(
                device,
                "parameters",
                wgpu::BufferUsages::UNIFORM,
                &contents.params,
            ),
            contents,
            counted: None,
        }
    }

    /// Keeps them for a later call.
    pub fn put(&self, mut constants: Constants) {
        constants.counted = None;
        let mut waiting = self.lock();
        waiting.push(constants);
        while bytes(&waiting) > MOST_WAITING {
            waiting.remove(0);
        }
    }

    /// Frees all that wait.
    pub fn trim(&self) {
        self.lock().clear();
    }

    /// Bytes that calls hold.
    pub fn taken_bytes(&self) -> u64 {
        self.taken.get()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> u64 {
        bytes(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Constants>> {
        // The list is whole at every moment, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(waiting: &[Constants]) -> u64 {
    waiting.iter().map(Constants::bytes).sum()
}

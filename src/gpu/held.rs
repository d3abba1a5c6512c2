//! What the library holds on the device, in bytes.

use super::attention::Attention;

/// What an [`Attention`] and all that was made by it hold on the device: [`Attention::held`]. Bytes of buffers, without what a driver
/// adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Compiled kernels, counted: no driver tells their bytes.
    pub kernels: usize,
    /// Rotary tables that are kept for later calls.
    pub tables: u64,
    /// Scratch of prepared calls.
    pub scratch: u64,
    /// Scratch that dropped calls left for later ones.
    pub waiting_scratch: u64,
    /// Small operands and parameters of prepared calls.
    pub constants: u64,
    /// Those that dropped calls left for later ones.
    pub waiting_constants: u64,
    /// KV caches, with what tells where their tokens lie.
    pub caches: u64,
}

impl Held {
    /// All bytes together.
    pub fn bytes(&self) -> u64 {
        self.tables
            + self.scratch
            + self.waiting_scratch
            + self.constants
            + self.waiting_constants
            + self.caches
    }

    /// Bytes that [`Attention::trim`] frees: those that no call holds.
    pub fn trimmable(&self) -> u64 {
        self.tables + self.waiting_scratch + self.waiting_constants
    }
}

impl Attention {
    /// What it holds on the device now, with all clones, calls and caches.
    pub fn held(&self) -> Held {
        let shared = self.shared();
        Held {
            kernels: shared.pipelines.len(),
            tables: shared.tables.bytes(),
            scratch: shared.arena.taken_bytes(),
            waiting_scratch: shared.arena.waiting_bytes(),
            constants: shared.constants.taken_bytes(),
            waiting_constants: shared.constants.waiting_bytes(),
            caches: shared.caches.get(),
        }
    }
}

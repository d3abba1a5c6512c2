//! The driver's own cache of pipelines, which all clones share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The driver's cache of pipelines, if the application wants one.
#[derive(Debug, Default)]
pub(super) struct DriverCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cache: Option<wgpu::PipelineCache>,
    note: Option<String>,
}

impl DriverCache {
    /// What pipelines are made with.
    pub fn get(&self) -> Option<wgpu::PipelineCache> {
        self.lock().cache.clone()
    }

    pub fn set(&self, cache: Option<wgpu::PipelineCache>, note: Option<String>) {
        *self.lock() = State { cache, note };
    }

    /// Why what was given is not used, if so.
    pub fn note(&self) -> Option<String> {
        self.lock().note.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole at every moment, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

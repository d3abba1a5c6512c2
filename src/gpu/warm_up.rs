//! Compiling ahead: all that plans need, up to a driver's own compiler, which may wait for a first dispatch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::{AbortHandle, Abortable};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::plan::{Plan, TableNeed};

use super::first_dispatch::first_dispatch;
use super::pipelines::{Key, keys};
use super::shared::Shared;
use super::urgency::Urgency;

#[cfg(not(target_arch = "wasm32"))]
type Work = futures::future::BoxFuture<'static, Result<()>>;
#[cfg(target_arch = "wasm32")]
type Work = futures::future::LocalBoxFuture<'static, Result<()>>;

/// Kernels on their way to being compiled: [`Attention::warm_up`](crate::Attention::warm_up). A future that borrows nothing. Nothing happens before it is polled;
/// dropped, it compiles no more (the kernels that compilers are at, one per thread, are finished and kept).
#[must_use = "a future compiles when it is polled"]
pub struct WarmUp {
    work: Option<Abortable<Work>>,
    /// What it ended with.
    answer: Result<()>,
    progress: Progress,
}

/// How far a [`WarmUp`] is; clones are of the same.
#[derive(Clone, Debug)]
pub struct Progress {
    done: Arc<AtomicUsize>,
    total: usize,
    abort: AbortHandle,
}

impl Progress {
    /// Kernels that are ready.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Kernels in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Ends the warm-up with [`Error::Cancelled`]. What is ready stays so.
    pub fn cancel(&self) {
        self.abort.abort();
    }
}

impl WarmUp {
    /// A handle that tells how far it is, and cancels it.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        shared: &Arc<Shared>,
        wanted: Wanted,
    ) -> Self {
        let (abort, registration) = AbortHandle::new_pair();
        let progress = Progress {
            done: Arc::default(),
            total: wanted.keys.len(),
            abort,
        };
        let work = Warming {
            device: device.clone(),
            queue: queue.clone(),
            shared: shared.clone(),
            done: progress.done.clone(),
        };
        let work: Work = Box::pin(async move {
            let warmed = work.run(wanted).await;
            // What came of it matters no more where the device is lost.
            work.shared.liveness.check(&work.device)?;
            warmed
        });
        Self {
            work: Some(Abortable::new(work, registration)),
            answer: Ok(()),
            progress,
        }
    }
}

impl Future for WarmUp {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(self.answer.clone());
        };
        let Poll::Ready(ended) = Pin::new(work).poll(context) else {
            return Poll::Pending;
        };
        self.work = None;
        self.answer = ended.unwrap_or(Err(Error::Cancelled));
        Poll::Ready(self.answer.clone())
    }
}

impl std::fmt::Debug for WarmUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarmUp")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// What is to be there, each once.
#[derive(Default)]
pub(super) struct Wanted {
    pub keys: Vec<Key>,
    tables: Vec<TableNeed>,
    /// Caps that plans count on beside the device's own.
    claims: Vec<Caps>,
}

impl Wanted {
    pub fn of(plans: &[Plan], caps: &Caps) -> Self {
        let mut wanted = Self::default();
        for plan in plans {
            for key in keys(plan) {
                if !wanted.keys.contains(&key) {
                    wanted.keys.push(key);
                }
            }
            wanted.tables.extend(plan.table.clone());
            if plan.caps != *caps && !wanted.claims.contains(&plan.caps) {
                wanted.claims.push(plan.caps.clone());
            }
        }
        wanted
    }
}

struct Warming {
    device: wgpu::Device,
    queue: wgpu::Queue,
    shared: Arc<Shared>,
    done: Arc<AtomicUsize>,
}

impl Warming {
    async fn run(&self, wanted: Wanted) -> Result<()> {
        for claimed in &wanted.claims {
            claimed.check_within(&Caps::of(&self.device, None))?;
        }
        let kernels = wanted.keys.into_iter().map(|key| {
            let request = self
                .shared
                .pipelines
                .request(&self.device, key, Urgency::Ahead);
            async move {
                let pipeline = request.ready().await?;
                first_dispatch(&self.device, &self.queue, pipeline).await?;
                self.done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
        let mut kernels: FuturesUnordered<_> = kernels.collect();
        for need in &wanted.tables {
            self.shared.tables.warm_up(&self.device, need).await?;
        }
        while let Some(kernel) = kernels.next().await {
            kernel?;
        }
        Ok(())
    }
}

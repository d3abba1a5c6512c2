//! The cache of compiled pipelines by variant, and who waits for those that are being compiled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::kernel::{Check, Variant};
use crate::plan::{Plan, Step};
use crate::problem::ModText;

use super::compile::{Pipeline, compile};
use super::driver_cache::DriverCache;
use super::urgency::Urgency;

/// A variant and the text of the user's functions that it calls: texts are compared whole, not by a hash.
pub(super) type Key = (Variant, Option<ModText>);

/// Pipelines kept, at most: many times what a model takes, and some 100 MB where a driver needs the most for each.
pub(super) const MOST_KEPT: usize = 256;

/// Compiles each variant once, and keeps those that were used last.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    cache: Arc<Mutex<Cache>>,
    /// What the driver keeps of its own.
    pub driver: DriverCache,
}

#[derive(Debug, Default)]
struct Cache {
    compiled: HashMap<Key, Kept>,
    #[cfg(not(target_arch = "wasm32"))]
    compiling: HashMap<Key, native::Compiling>,
    /// Uses so far.
    uses: u64,
}

/// A pipeline and the number of its last use.
#[derive(Debug)]
struct Kept {
    pipeline: Arc<Pipeline>,
    used: u64,
}

impl Cache {
    fn get(&mut self, key: &Key) -> Option<Arc<Pipeline>> {
        self.uses += 1;
        let kept = self.compiled.get_mut(key)?;
        kept.used = self.uses;
        Some(kept.pipeline.clone())
    }

    /// Keeps it, unless another thread was first; then that one's.
    fn insert(&mut self, key: Key, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        if let Some(first) = self.get(&key) {
            return first;
        }
        if self.compiled.len() >= MOST_KEPT {
            let oldest = self.compiled.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.compiled.remove(&oldest);
            }
        }
        let used = self.uses;
        let kept = pipeline.clone();
        self.compiled.insert(key, Kept { pipeline, used });
        kept
    }
}

/// What looks at a call's operands.
const CHECK: Variant = Variant::Check(Check);

/// What a plan needs, each once: its steps' in their order, and what looks at its operands. A check that had to wait
/// for its kernel would see later values.
pub(super) fn keys(plan: &Plan) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for Step { variant, .. } in plan.steps() {
        if !keys.iter().any(|(known, _)| known == variant) {
            let mods = plan.mods().filter(|_| variant.uses_mods());
            keys.push((*variant, mods.cloned()));
        }
    }
    if !plan.checks().is_empty() {
        keys.push((CHECK, None));
    }
    keys
}

impl Pipelines {
    /// Variants that are kept.
    pub fn len(&self) -> usize {
        self.lock().compiled.len()
    }

    /// What is kept, the one used longest ago first.
    pub fn keys(&self) -> Vec<Key> {
        let cache = self.lock();
        let mut kept: Vec<_> = cache.compiled.iter().collect();
        kept.sort_by_key(|(_, kept)| kept.used);
        kept.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// Frees those that no call holds.
    pub fn trim(&self) {
        let mut cache = self.lock();
        cache
            .compiled
            .retain(|_, kept| Arc::strong_count(&kept.pipeline) > 1);
    }

    /// The pipelines of a plan's steps, one per step, and the one that looks at its operands if something is to be looked
    /// at. All are asked for before the first is waited for.
    pub async fn of(
        &self,
        device: &wgpu::Device,
        plan: &Plan,
    ) -> Result<(Vec<Arc<Pipeline>>, Option<Arc<Pipeline>>)> {
        let mut requests = Vec::new();
        for key in keys(plan) {
            requests.push((key.0, self.request(device, key, Urgency::Now)));
        }
        let mut compiled = HashMap::new();
        for (variant, request) in requests {
            compiled.insert(variant, request.ready().await?);
        }
        let steps = plan.steps().iter();
        let steps = steps.map(|step| compiled[&step.variant].clone());
        Ok((steps.collect(), compiled.get(&CHECK).cloned()))
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }
}

fn lock(cache: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    // It is whole at every moment, so a panic elsewhere leaves it whole.
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures::channel::oneshot;

    use super::super::workers;
    use super::*;
    use crate::error::Error;

    type Compiled = Result<Arc<Pipeline>>;

    /// One that a thread compiles or will compile.
    #[derive(Debug)]
    pub struct Compiling {
        /// Of the job.
        number: u64,
        waiting: Vec<oneshot::Sender<Compiled>>,
    }

    /// A pipeline that is there, or one that will be. Dropped before anybody compiles, and wanted by nobody else, it is not
    /// compiled.
    pub enum Request {
        Compiled(Arc<Pipeline>),
        Compiling(Variant, oneshot::Receiver<Compiled>),
    }

    impl Request {
        pub async fn ready(self) -> Compiled {
            match self {
                Self::Compiled(pipeline) => Ok(pipeline),
                Self::Compiling(variant, compiled) => compiled.await.unwrap_or_else(|_| {
                    Err(Error::Device {
                        what: variant.to_string(),
                        message: "its compiler panicked".into(),
                    })
                }),
            }
        }
    }

    impl Pipelines {
        /// Asks for a pipeline; who asks for one that is being compiled waits for the same compiler.
        pub fn request(&self, device: &wgpu::Device, key: Key, urgency: Urgency) -> Request {
            let mut cache = self.lock();
            if let Some(known) = cache.get(&key) {
                return Request::Compiled(known);
            }
            let (sender, compiled) = oneshot::channel();
            let request = Request::Compiling(key.0, compiled);
            if let Some(compiling) = cache.compiling.get_mut(&key) {
                compiling.waiting.push(sender);
                if urgency == Urgency::Now {
                    workers::hasten(compiling.number);
                }
                return request;
            }
            let number = workers::number();
            let job = Job {
                device: device.clone(),
                key: key.clone(),
                cache: self.cache.clone(),
                driver: self.driver.get(),
            };
            let waiting = vec![sender];
            cache.compiling.insert(key, Compiling { number, waiting });
            drop(cache);
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            workers::start(number, urgency, move || {
                tracing::dispatcher::with_default(&dispatch, || job.run());
            });
            request
        }
    }

    /// All that a thread needs.
    struct Job {
        device: wgpu::Device,
        key: Key,
        cache: Arc<Mutex<Cache>>,
        driver: Option<wgpu::PipelineCache>,
    }

    impl Job {
        fn run(self) {
            if !self.is_wanted() {
                return;
            }
            let (variant, mods) = &self.key;
            let compiled = catch_unwind(AssertUnwindSafe(|| {
                let driver = self.driver.as_ref();
                workers::block_on(compile(&self.device, variant, mods.as_ref(), driver))
            }));
            let compiled = compiled.unwrap_or_else(|_| {
                Err(Error::Device {
                    what: variant.to_string(),
                    message: "its compiler panicked".into(),
                })
            });
            let (compiled, mut waiting) = self.keep(compiled.map(Arc::new));
            // Who waits no longer has dropped the other end. Nothing is held here that the last one has.
            let last = waiting.pop();
            for waiting in waiting {
                let _ = waiting.send(compiled.clone());
            }
            if let Some(last) = last {
                let _ = last.send(compiled);
            }
        }

        /// Whether anybody waits still; if not, it is forgotten.
        fn is_wanted(&self) -> bool {
            let mut cache = lock(&self.cache);
            let Some(compiling) = cache.compiling.get_mut(&self.key) else {
                return false;
            };
            compiling.waiting.retain(|waiting| !waiting.is_canceled());
            let is_wanted = !compiling.waiting.is_empty();
            if !is_wanted {
                cache.compiling.remove(&self.key);
            }
            is_wanted
        }

        /// In one step from those that are being compiled to those that are; answers who waits.
        fn keep(&self, compiled: Compiled) -> (Compiled, Vec<oneshot::Sender<Compiled>>) {
            let mut cache = lock(&self.cache);
            let compiled = compiled.map(|pipeline| cache.insert(self.key.clone(), pipeline));
            let entry = cache.compiling.remove(&self.key);
            (
                compiled,
                entry.map(|entry| entry.waiting).unwrap_or_default(),
            )
        }
    }
}

/// There are no threads: compiled is where it is waited for.
#[cfg(target_arch = "wasm32")]
mod web {
    use super::*;

    /// A pipeline that is there, or one to compile.
    pub struct Request<'a> {
        pipelines: &'a Pipelines,
        device: wgpu::Device,
        key: Key,
    }

    impl Request<'_> {
        pub async fn ready(self) -> Result<Arc<Pipeline>> {
            if let Some(known) = self.pipelines.lock().get(&self.key) {
                return Ok(known);
            }
            let (variant, mods) = &self.key;
            let driver = self.pipelines.driver.get();
            let pipeline = compile(&self.device, variant, mods.as_ref(), driver.as_ref()).await?;
            Ok(self.pipelines.lock().insert(self.key, Arc::new(pipeline)))
        }
    }

    impl Pipelines {
        /// Asks for a pipeline.
        pub fn request(&self, device: &wgpu::Device, key: Key, _urgency: Urgency) -> Request<'_> {
            Request {
                pipelines: self,
                device: device.clone(),
                key,
            }
        }
    }
}

//! The threads of the process that compile: few, started when there is something to do, ended when there is not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use futures::channel::oneshot;

use crate::error::{Error, Result};

use super::urgency::Urgency;

/// Threads, at most. A driver's compiler may take gigabytes for one kernel.
const MOST_THREADS: usize = 4;

struct Job {
    number: u64,
    urgency: Urgency,
    work: Box<dyn FnOnce() + Send>,
}

/// What is to be done, and how many threads do it.
struct Pool {
    jobs: VecDeque<Job>,
    threads: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    jobs: VecDeque::new(),
    threads: 0,
});

fn pool() -> MutexGuard<'static, Pool> {
    // It is whole at every moment, so a panic elsewhere does not spoil it.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The first of the most urgent ones, of which there are as many threads as may be at work.
    fn next(&mut self) -> Option<Job> {
        let first = (0..self.jobs.len()).min_by_key(|&n| self.jobs[n].urgency)?;
        let is_allowed = self.threads <= most_threads(self.jobs[first].urgency);
        is_allowed.then(|| self.jobs.remove(first))?
    }
}

/// Ahead of calls half of the processor's threads, for the others are the application's; all of them where it waits. The
/// suite of two threads on SwiftShader, whose time is the compiler's, takes almost twice as long with one.
fn most_threads(urgency: Urgency) -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let most = match urgency {
        Urgency::Now => all,
        Urgency::Begun | Urgency::Ahead => all / 2,
    };
    most.clamp(1, MOST_THREADS)
}

/// The number of a job that is to be started.
pub(super) fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Has `work` done by another thread.
pub(super) fn start(number: u64, urgency: Urgency, work: impl FnOnce() + Send + 'static) {
    let mut pool = pool();
    pool.jobs.push_back(Job {
        number,
        urgency,
        work: Box::new(work),
    });
    if pool.threads < most_threads(urgency) {
        let thread = std::thread::Builder::new().name("compile attention".into());
        match thread.spawn(work_off) {
            Ok(_) => pool.threads += 1,
            Err(error) if pool.threads == 0 => {
                tracing::warn!(%error, "no thread compiles; the caller's does");
                pool.threads += 1;
                drop(pool);
                work_off();
            }
            // Those that run will come to it.
            Err(_) => {}
        }
    }
}

/// Somebody waits for this job now.
pub(super) fn hasten(number: u64) {
    let mut pool = pool();
    if let Some(job) = pool.jobs.iter_mut().find(|job| job.number == number) {
        job.urgency = Urgency::Now;
    }
}

/// Has another thread run a future to its end, unless nobody waits for that any more when it gets there.
pub(super) async fn run<T: Send + 'static>(
    urgency: Urgency,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, answer) = oneshot::channel();
    start(number(), urgency, move || {
        if !sender.is_canceled() {
            let _ = sender.send(block_on(work));
        }
    });
    answer.await.unwrap_or_else(|_| {
        Err(Error::Device {
            what: "what a thread of its own was to do".into(),
            message: "it panicked".into(),
        })
    })
}

/// Runs a future to its end on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn work_off() {
    while let Some(job) = next_or_end() {
        // One that panics has dropped what it was to send, which its waiters notice.
        let _ = catch_unwind(AssertUnwindSafe(job.work));
    }
}

/// The next job; without one this thread is counted no longer.
fn next_or_end() -> Option<Job> {
    let mut pool = pool();
    let job = pool.next();
    pool.threads -= usize::from(job.is_none());
    job
}

//! Wakes pending futures after a little while, where nothing else would: natively a mapping is only noticed by polling
//! the device. On the web the browser wakes.

#[cfg(target_arch = "wasm32")]
pub(super) fn wake_soon(_context: &std::task::Context<'_>) {}

#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::wake_soon;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Waker};
    use std::time::Duration;

    /// Between two polls: short against a kernel, long against a poll (about 1 µs).
    const INTERVAL: Duration = Duration::from_micros(500);
    /// Intervals without a future that waits, after which the thread ends: enough for a busy executor to come round.
    const MOST_IDLE: u32 = 20;

    /// Those who wait, and whether the one thread of the process runs that wakes them.
    struct Timer {
        wakers: Vec<Waker>,
        runs: bool,
    }

    static TIMER: Mutex<Timer> = Mutex::new(Timer {
        wakers: Vec::new(),
        runs: false,
    });

    fn timer() -> MutexGuard<'static, Timer> {
        // It is whole at every moment, so a panic elsewhere does not spoil it.
        TIMER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the future that is polled, within an interval or so.
    pub fn wake_soon(context: &Context<'_>) {
        let mut timer = timer();
        timer.wakers.push(context.waker().clone());
        if timer.runs {
            return;
        }
        let thread = std::thread::Builder::new().name("attention timer".into());
        match thread.spawn(wake_all) {
            Ok(_) => timer.runs = true,
            Err(error) => {
                tracing::warn!(%error, "no timer thread; a download polls without pause");
                let wakers = std::mem::take(&mut timer.wakers);
                drop(timer);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }

    fn wake_all() {
        let mut idle = 0;
        while idle < MOST_IDLE || !ended() {
            std::thread::sleep(INTERVAL);
            let wakers = std::mem::take(&mut timer().wakers);
            idle = if wakers.is_empty() { idle + 1 } else { 0 };
            for waker in wakers {
                // A waker is the application's; one that panics must not keep the others asleep.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    /// Ends the thread, unless somebody came at the last moment.
    fn ended() -> bool {
        let mut timer = timer();
        timer.runs = !timer.wakers.is_empty();
        !timer.runs
    }
}

//! Wakes a pending future after a little while, where nothing else would: natively a mapping is only noticed by
//! polling the device. On the web the browser wakes.

use std::task::Context;
#[cfg(not(target_arch = "wasm32"))]
use std::task::Waker;

/// Between two polls: short against a kernel, long against a poll (about 1 µs).
#[cfg(not(target_arch = "wasm32"))]
const INTERVAL: std::time::Duration = std::time::Duration::from_micros(500);

/// A thread that lives as long as the future that waits, started when it first has to.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    #[cfg(not(target_arch = "wasm32"))]
    wakers: Option<std::sync::mpsc::Sender<Waker>>,
}

impl Timer {
    #[cfg(target_arch = "wasm32")]
    pub fn wake_soon(&mut self, _context: &Context<'_>) {}

    #[cfg(not(target_arch = "wasm32"))]
    pub fn wake_soon(&mut self, context: &Context<'_>) {
        let waker: Waker = context.waker().clone();
        let started = self.wakers.get_or_insert_with(start);
        if started.send(waker).is_err() {
            // The thread could not be started: poll again at once rather than never.
            context.waker().wake_by_ref();
        }
    }
}

/// The thread ends when the future, and with it the sender, is dropped.
#[cfg(not(target_arch = "wasm32"))]
fn start() -> std::sync::mpsc::Sender<Waker> {
    let (sender, wakers) = std::sync::mpsc::channel::<Waker>();
    let thread = std::thread::Builder::new().name("attention download".into());
    let spawned = thread.spawn(move || {
        for waker in wakers {
            std::thread::sleep(INTERVAL);
            waker.wake();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no timer thread; a download polls without pause");
    }
    sender
}

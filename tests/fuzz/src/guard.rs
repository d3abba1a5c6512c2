//! What no case may do: panic, hang, or ask for absurd amounts of memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Bytes of one allocation that no case of small data has a use for.
const MOST_BYTES: usize = 1 << 30;

/// The system's allocator, which notes the largest request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is that of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Panics are kept for [`guarded`], not printed.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        *panic_text() = info.to_string().replace('\n', " ");
    }));
}

fn panic_text() -> std::sync::MutexGuard<'static, String> {
    PANIC.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs a case. After `patience` it calls `hung` on another thread, from which nobody returns.
pub fn guarded<T>(
    work: impl FnOnce() -> Result<T, String>,
    patience: Duration,
    hung: impl FnOnce() + Send + 'static,
) -> Result<T, String> {
    LARGEST.store(0, Ordering::Relaxed);
    let (done, watch) = channel::<()>();
    let watch = std::thread::spawn(move || {
        if watch.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            hung();
        }
    });
    let outcome = catch_unwind(AssertUnwindSafe(work));
    drop(done);
    // It ends at once: its channel is closed.
    let _ = watch.join();
    let outcome = outcome.unwrap_or_else(|_| Err(format!("a panic: {}", panic_text())));
    match LARGEST.load(Ordering::Relaxed) {
        bytes if bytes > MOST_BYTES && outcome.is_ok() => {
            Err(format!("an allocation of {bytes} bytes"))
        }
        _ => outcome,
    }
}

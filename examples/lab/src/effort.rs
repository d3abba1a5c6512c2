//! How long something will take, said before it starts, and its progress.

use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::attention::Gpu;
use crate::measure::Bits;
use crate::model::Model;
use crate::scheme::{Learned, Scheme};

/// Bytes of the trial.
const TRIAL: usize = 1024;
/// An adapter is slow when the work takes more seconds than this.
const SLOW: f64 = 600.0;

/// What bytes cost here, measured on a trial.
pub struct Effort {
    /// Seconds a byte outside of attention.
    plain: f64,
    /// Seconds a byte and byte of context in attention.
    attention: f64,
}

impl Effort {
    /// Reads some bytes twice; the first time compiles kernels.
    pub fn measure(gpu: &std::sync::Arc<Gpu>, model: &Model, text: &[u8]) -> Result<Self> {
        let scheme = Scheme::AsTrained(Learned::Rope);
        let windows = crate::text::windows(text, TRIAL, 2)?;
        let attend = scheme.attend(gpu, TRIAL);
        Bits::of(model, &*attend, &windows)?;
        let (start, spent) = (Instant::now(), gpu.spent());
        Bits::of(model, &*attend, &windows)?;
        let attention = (gpu.spent() - spent).as_secs_f64();
        let plain = start.elapsed().as_secs_f64() - attention;
        let bytes = (TRIAL * windows.len()) as f64;
        Ok(Self {
            plain: plain / bytes,
            attention: attention / bytes / TRIAL as f64,
        })
    }

    /// Seconds that so many bytes take in contexts of `len`.
    pub fn seconds(&self, bytes: usize, len: usize) -> f64 {
        bytes as f64 * (self.plain + self.attention * len as f64)
    }
}

/// A bar over so many seconds of work, which warns where an adapter is slow.
pub fn bar(what: &str, seconds: f64, adapter: &str) -> Result<ProgressBar> {
    if seconds > SLOW {
        eprintln!(
            "{what} on {adapter} takes about {:.0} minutes; less text (--bytes) or shorter contexts (--longest) take less",
            seconds / 60.0
        );
    } else {
        eprintln!("{what} on {adapter} takes about {seconds:.0} s");
    }
    let bar = ProgressBar::new((seconds * 1000.0) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {msg}, {eta} left",
    )?);
    Ok(bar)
}

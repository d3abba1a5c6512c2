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

/// What tokens cost here, bytes of a tiny model or those of a real one, measured on a trial.
pub struct Effort {
    /// Seconds per token outside of attention.
    pub plain: f64,
    /// Seconds per token and token of the context's length in attention.
    pub attention: f64,
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

    /// Seconds that so many tokens take in contexts of `len`.
    pub fn seconds(&self, tokens: usize, len: usize) -> f64 {
        tokens as f64 * (self.plain + self.attention * len as f64)
    }
}

/// Says how long it will take, and what takes less where that is long.
pub fn tell(what: &str, seconds: f64, adapter: &str, less: &str) {
    if seconds > SLOW {
        eprintln!(
            "{what} on {adapter} takes about {:.0} minutes; {less}",
            seconds / 60.0
        );
    } else {
        eprintln!("{what} on {adapter} takes about {seconds:.0} s");
    }
}

/// A bar over so many seconds of work, told before.
pub fn bar(what: &str, seconds: f64, adapter: &str) -> Result<ProgressBar> {
    let less = "less text (--bytes) or shorter contexts (--longest) take less";
    tell(what, seconds, adapter, less);
    let bar = ProgressBar::new((seconds * 1000.0) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {msg}, {eta} left",
    )?);
    Ok(bar)
}

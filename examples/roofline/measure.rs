//! Measures a group of rows: the answer first, then the time.

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use wgpu::Buffer;

use crate::case::{Case, Group, Row};
use crate::ceiling::Ceiling;
use crate::check::Accuracy;
use crate::gpu::Gpu;
use crate::timing::{self, RUNS, Times, WARM_UPS, Work};

/// A row of the report.
pub struct Measured {
    pub row: Row,
    pub times: Times,
    /// The first call in milliseconds: with composing and compiling, if no row before had the same variant.
    pub first_ms: f64,
    pub flops: f64,
    pub scratch_bytes: u64,
    pub accuracy: Accuracy,
}

/// A case whose first answer was right.
struct Checked {
    row: Row,
    case: Box<dyn Case>,
    first_ms: f64,
    accuracy: Accuracy,
    answer: Vec<Vec<u8>>,
}

/// Steps of the progress bar that a group of so many rows takes.
pub fn steps(rows: usize) -> u64 {
    (rows + (rows + 1) * (RUNS + WARM_UPS - 1)) as u64
}

/// Checks all rows, then times them in turns with the arithmetic ceiling. What cannot run here or failed is left out
/// of the answer; the bar says why, and `failed` counts the latter.
pub fn group(
    gpu: &Gpu,
    group: Group,
    ceiling: &mut Ceiling,
    bar: &ProgressBar,
    failed: &mut usize,
) -> Result<Vec<Measured>> {
    let mut checked = Vec::new();
    for row in group.0 {
        let label = row.label();
        bar.set_message(label.clone());
        match (row.case)(gpu, &row).map(|case| Checked::new(gpu, row, case)) {
            Ok(Ok(right)) => checked.push(right),
            Ok(Err(error)) => {
                *failed += 1;
                bar.suspend(|| eprintln!("failed: {label}: {error:#}"));
            }
            Err(reason) => bar.suspend(|| eprintln!("left out: {label}: {reason:#}")),
        }
        bar.inc(1);
    }
    let mut works: Vec<&dyn Work> = vec![&ceiling.chains];
    works.extend(checked.iter().map(|checked| &*checked.case as &dyn Work));
    // The run that was checked is the first of the warm-ups.
    let mut times = timing::interleaved(gpu, &works, WARM_UPS - 1, || bar.inc(1))?.into_iter();
    if let Some(times) = times.next() {
        ceiling.raise(times);
    }
    checked
        .into_iter()
        .zip(times)
        .map(|(checked, times)| checked.measured(gpu, times))
        .collect()
}

impl Checked {
    fn new(gpu: &Gpu, row: Row, mut case: Box<dyn Case>) -> Result<Self> {
        poison(gpu, &case.outputs());
        // Uploads are done before the clock starts.
        gpu.time(|_| ())?;
        let start = std::time::Instant::now();
        case.prepare(gpu)?;
        timing::once(gpu, &*case)?;
        let first_ms = start.elapsed().as_secs_f64() * 1e3;
        let answer = download(gpu, &case.outputs())?;
        let accuracy = case.accuracy(&answer);
        ensure!(
            accuracy.is_right(),
            "wrong answer: the largest error is {:.2e} of the RMS, allowed is {:.2e}",
            accuracy.max_error,
            accuracy.allowed
        );
        poison(gpu, &case.outputs());
        Ok(Self {
            row,
            case,
            first_ms,
            accuracy,
            answer,
        })
    }

    /// The timed runs must have written the answer that was checked, to the bit.
    fn measured(self, gpu: &Gpu, times: Times) -> Result<Measured> {
        ensure!(
            download(gpu, &self.case.outputs())? == self.answer,
            "{}: the timed runs gave another answer than the checked one",
            self.row.label()
        );
        Ok(Measured {
            times,
            first_ms: self.first_ms,
            flops: self.case.flops(),
            scratch_bytes: self.case.scratch_bytes(),
            accuracy: self.accuracy,
            row: self.row,
        })
    }
}

/// Fills the outputs with NaN, so that a kernel that writes nothing is seen.
fn poison(gpu: &Gpu, outputs: &[&Buffer]) {
    for output in outputs {
        let nan = vec![0xff; output.size() as usize];
        gpu.queue.write_buffer(output, 0, &nan);
    }
}

fn download(gpu: &Gpu, outputs: &[&Buffer]) -> Result<Vec<Vec<u8>>> {
    outputs.iter().map(|output| gpu.download(output)).collect()
}

//! Measures a group of rows: the answer first, then the time.

use anyhow::{Result, ensure};
use wgpu::Buffer;

use crate::case::{Case, Group, Row};
use crate::ceiling::Ceiling;
use crate::check::Accuracy;
use crate::gpu::Gpu;
use crate::progress::Progress;
use crate::timing::{self, Times, Turn};

/// A row of the report.
pub struct Measured {
    pub row: Row,
    pub times: Times,
    /// The first call in milliseconds: with composing and compiling, if no row before had the same variant.
    pub first_ms: f64,
    pub flops: f64,
    pub moved_bytes: Option<u64>,
    pub read_bytes: Option<u64>,
    pub scratch_bytes: u64,
    pub accuracy: Accuracy,
}

/// A case whose first answer was right.
struct Checked {
    row: Row,
    case: Box<dyn Case>,
    first_ms: f64,
    /// Running alone.
    run_ms: f64,
    accuracy: Accuracy,
    answer: Vec<Vec<u8>>,
}

/// Checks all rows, then times them in turns with the ceilings. What cannot run here or failed is left out of the
/// answer; `progress` says why, and `failed` counts the latter.
pub fn group(
    gpu: &Gpu,
    group: Group,
    ceiling: &mut Ceiling,
    progress: &mut Progress,
    failed: &mut usize,
) -> Result<Vec<Measured>> {
    let mut checked = Vec::new();
    for row in group.0 {
        let label = row.label();
        progress.row(&label);
        match (row.case)(gpu, &row).map(|case| Checked::new(gpu, row, case)) {
            Ok(Ok(right)) => checked.push(right),
            Ok(Err(error)) => {
                *failed += 1;
                progress.say(&format!("failed: {label}: {error:#}"));
            }
            Err(reason) => progress.say(&format!("left out: {label}: {reason:#}")),
        }
    }
    progress.timing(checked.len());
    let mut turns = Vec::from(ceiling.turns());
    turns.extend(checked.iter().map(|checked| Turn {
        work: &*checked.case,
        first: Some(checked.run_ms),
    }));
    let times = timing::interleaved(gpu, &turns, || progress.tick())?;
    let [chains, kernel_copy, command_copy, rest @ ..] = &times[..] else {
        unreachable!("a time for each turn");
    };
    ceiling.raise([*chains, *kernel_copy, *command_copy]);
    checked
        .into_iter()
        .zip(rest.iter().copied())
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
        let run_ms = timing::once(gpu, &*case)?;
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
            run_ms,
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
            moved_bytes: self.case.moved_bytes(),
            read_bytes: self.case.read_bytes(),
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

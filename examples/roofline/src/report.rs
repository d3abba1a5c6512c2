//! The measurements for people and for programs.

use serde::Serialize;

use crate::case::Row;
use crate::ceiling::Ceiling;
use crate::measure::Measured;

/// Everything that was measured on one adapter.
#[derive(Serialize)]
pub struct Report {
    adapter: String,
    fma_gflops: f64,
    read_gbps: f64,
    copy_gbps: f64,
    kernel_copy_gbps: f64,
    rows: Vec<Line>,
}

#[derive(Serialize)]
#[allow(non_snake_case)] // The field's names are the report's keys.
struct Line {
    kernel: &'static str,
    strategy: &'static str,
    element: String,
    mask: String,
    B: u32,
    Hq: u32,
    Hkv: u32,
    Nq: u32,
    Nk: u32,
    D: u32,
    Dv: u32,
    params: String,
    ms: f64,
    median_ms: f64,
    /// Times that `ms` is the minimum of.
    runs: usize,
    gflops: f64,
    /// Of the arithmetic ceiling.
    share: f64,
    /// The naive kernels' time over this one's, where they ran the same problem.
    vs_naive: Option<f64>,
    /// This row's time over that of another one in the same group, which `ratio_of` names.
    ratio: Option<f64>,
    ratio_of: Option<&'static str>,
    /// Of what does little but move bytes: 10⁹ bytes/s read and written, and their share of the copying ceiling and of
    /// what a kernel copies.
    gbps: Option<f64>,
    copy_share: Option<f64>,
    kernel_copy_share: Option<f64>,
    /// Of what reads keys and values once: 10⁹ bytes/s, and their share of what a kernel reads at most.
    read_gbps: Option<f64>,
    read_share: Option<f64>,
    /// Relative to the RMS of the f64 answer.
    max_error: f64,
    scratch_bytes: u64,
    first_ms: f64,
}

impl Report {
    pub fn new(adapter: String, ceiling: &Ceiling, measured: &[Measured]) -> Self {
        Self {
            adapter,
            fma_gflops: ceiling.fma_gflops,
            read_gbps: ceiling.read_gbps,
            copy_gbps: ceiling.copy_gbps,
            kernel_copy_gbps: ceiling.kernel_copy_gbps,
            rows: measured
                .iter()
                .map(|one| Line::new(one, ceiling, measured))
                .collect(),
        }
    }

    /// The table for people.
    pub fn print(&self) {
        println!("{}", self.adapter);
        println!(
            "ceilings: {:.1} GFLOP/s of multiply-adds, {:.2} GB/s read, {:.2} GB/s copied (read + written), {:.2} by a kernel\n",
            self.fma_gflops, self.read_gbps, self.copy_gbps, self.kernel_copy_gbps
        );
        println!(
            "{:<21} {:<10} {:<5} {:<13} {:>6} {:>4} {:>9} {:>9} {:>4} {:>8} {:>6} {:>8} {:>9} {:>11} {:>9}  {:<13} ratio",
            "kernel",
            "strategy",
            "elem",
            "mask",
            "N",
            "D",
            "min ms",
            "median",
            "runs",
            "GFLOP/s",
            "share",
            "vs naive",
            "max error",
            "scratch B",
            "first ms",
            "params"
        );
        for line in &self.rows {
            line.print();
        }
    }
}

impl Line {
    fn new(measured: &Measured, ceiling: &Ceiling, all: &[Measured]) -> Self {
        let (row, shape) = (&measured.row, &measured.row.problem.shape);
        let ms = measured.times.min;
        let gflops = measured.flops / ms / 1e6;
        let gbps = measured.moved_bytes.map(|bytes| bytes as f64 / ms / 1e6);
        let read_gbps = measured.read_bytes.map(|bytes| bytes as f64 / ms / 1e6);
        let baseline = baseline_ms(row, all);
        Self {
            kernel: row.kernel,
            strategy: row.strategy,
            element: row.problem.q.element.to_string(),
            mask: row.mask(),
            B: shape.batch,
            Hq: shape.q_heads,
            Hkv: shape.kv_heads,
            Nq: shape.q_len,
            Nk: shape.kv_len,
            D: shape.head_dim,
            Dv: shape.value_dim,
            params: row.params.clone(),
            ms,
            median_ms: measured.times.median,
            runs: measured.times.runs,
            gflops,
            share: gflops / ceiling.fma_gflops,
            vs_naive: naive_ms(measured, all).map(|naive| naive / ms),
            ratio: baseline.map(|(_, baseline)| ms / baseline),
            ratio_of: baseline.map(|(name, _)| name),
            gbps,
            copy_share: gbps.map(|gbps| gbps / ceiling.copy_gbps),
            kernel_copy_share: gbps.map(|gbps| gbps / ceiling.kernel_copy_gbps),
            read_gbps,
            read_share: read_gbps.map(|gbps| gbps / ceiling.read_gbps),
            max_error: measured.accuracy.max_error,
            scratch_bytes: measured.scratch_bytes,
            first_ms: measured.first_ms,
        }
    }

    fn print(&self) {
        let vs_naive = self.vs_naive.map_or("-".to_string(), |x| format!("{x:.2}"));
        println!(
            "{:<21} {:<10} {:<5} {:<13} {:>6} {:>4} {:>9.2} {:>9.2} {:>4} {:>8.2} {:>6.3} {:>8} {:>9.1e} {:>11} {:>9.0}  {:<13} {}",
            self.kernel,
            self.strategy,
            self.element,
            self.mask,
            self.Nk,
            self.D,
            self.ms,
            self.median_ms,
            self.runs,
            self.gflops,
            self.share,
            vs_naive,
            self.max_error,
            self.scratch_bytes,
            self.first_ms,
            self.params,
            self.ratios()
        );
    }

    /// `0.48 of full`.
    fn ratios(&self) -> String {
        let ratio = self.ratio.zip(self.ratio_of);
        let ratio = ratio.map(|(ratio, of)| format!("{ratio:.3} of {of}"));
        let shares = self.copy_share.zip(self.kernel_copy_share);
        let copying = shares.map(|(share, of_kernel)| {
            format!("{share:.2} of the copying ceiling, {of_kernel:.2} of a kernel's")
        });
        let reading = self.read_gbps.zip(self.read_share);
        let reading = reading
            .map(|(gbps, share)| format!("{gbps:.2} GB/s read, {share:.2} of what a kernel reads"));
        let all: Vec<_> = [ratio, copying, reading].into_iter().flatten().collect();
        all.join(", ")
    }
}

/// Name and time of the row that this one is compared with.
fn baseline_ms(row: &Row, all: &[Measured]) -> Option<(&'static str, f64)> {
    let baseline = row.baseline.as_ref()?;
    let other = all
        .iter()
        .find(|other| other.row.label() == baseline.label)?;
    Some((baseline.name, other.times.min))
}

/// The time of the naive kernels on the same sizes and mask, whatever the element.
fn naive_ms(one: &Measured, all: &[Measured]) -> Option<f64> {
    let problem = &one.row.problem;
    let naive = match one.row.kernel {
        "backward" | "backward_naive" => "backward_naive",
        _ => "naive",
    };
    all.iter()
        .find(|other| {
            let same = &other.row.problem;
            other.row.kernel == naive && same.shape == problem.shape && same.mask == problem.mask
        })
        .map(|naive| naive.times.min)
}

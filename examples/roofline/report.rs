//! The measurements for people and for programs.

use serde::Serialize;

use crate::ceiling::Ceiling;
use crate::measure::Measured;

/// Everything that was measured on one adapter.
#[derive(Serialize)]
pub struct Report {
    adapter: String,
    fma_gflops: f64,
    read_gbps: f64,
    copy_gbps: f64,
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
    gflops: f64,
    /// Of the arithmetic ceiling.
    share: f64,
    /// The naive kernels' time over this one's, where they ran the same problem.
    vs_naive: Option<f64>,
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
            rows: measured
                .iter()
                .map(|one| Line::new(one, ceiling, naive_ms(one, measured)))
                .collect(),
        }
    }

    /// The table for people.
    pub fn print(&self) {
        println!("{}", self.adapter);
        println!(
            "ceilings: {:.1} GFLOP/s of multiply-adds, {:.2} GB/s read, {:.2} GB/s copied (read + written)\n",
            self.fma_gflops, self.read_gbps, self.copy_gbps
        );
        println!(
            "{:<21} {:<10} {:<5} {:<13} {:>6} {:>4} {:>9} {:>9} {:>8} {:>6} {:>8} {:>9} {:>11} {:>9}  params",
            "kernel",
            "strategy",
            "elem",
            "mask",
            "N",
            "D",
            "min ms",
            "median",
            "GFLOP/s",
            "share",
            "vs naive",
            "max error",
            "scratch B",
            "first ms"
        );
        for line in &self.rows {
            line.print();
        }
    }
}

impl Line {
    fn new(measured: &Measured, ceiling: &Ceiling, naive_ms: Option<f64>) -> Self {
        let (row, shape) = (&measured.row, &measured.row.problem.shape);
        let ms = measured.times.min;
        let gflops = measured.flops / ms / 1e6;
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
            gflops,
            share: gflops / ceiling.fma_gflops,
            vs_naive: naive_ms.map(|naive| naive / ms),
            max_error: measured.accuracy.max_error,
            scratch_bytes: measured.scratch_bytes,
            first_ms: measured.first_ms,
        }
    }

    fn print(&self) {
        let vs_naive = self.vs_naive.map_or("-".to_string(), |x| format!("{x:.2}"));
        println!(
            "{:<21} {:<10} {:<5} {:<13} {:>6} {:>4} {:>9.2} {:>9.2} {:>8.2} {:>6.3} {:>8} {:>9.1e} {:>11} {:>9.0}  {}",
            self.kernel,
            self.strategy,
            self.element,
            self.mask,
            self.Nk,
            self.D,
            self.ms,
            self.median_ms,
            self.gflops,
            self.share,
            vs_naive,
            self.max_error,
            self.scratch_bytes,
            self.first_ms,
            self.params
        );
    }
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

//! What a kernel family has to offer to be timed.

use anyhow::Result;
use wgpu::Buffer;
use wgpu_attention::problem::Problem;

use crate::check::Accuracy;
use crate::gpu::Gpu;
use crate::timing::Work;

/// A row of the report before it is measured.
pub struct Row {
    pub kernel: &'static str,
    pub strategy: &'static str,
    pub problem: Problem,
    /// What the problem's sizes, element and mask do not say; empty where they say it all.
    pub params: String,
    /// Puts the operands on the device; compiles nothing yet. An error declines the row.
    pub case: fn(&Gpu, &Row) -> Result<Box<dyn Case>>,
    /// The row of the same group that its time is divided by.
    pub baseline: Option<Baseline>,
}

/// Another row, by its label and in a word.
#[derive(Clone)]
pub struct Baseline {
    pub label: String,
    pub name: &'static str,
}

/// Rows whose times are compared with one another, so they are measured in turns.
pub struct Group(pub Vec<Row>);

/// A row on the device.
pub trait Case: Work {
    /// Composes and compiles what is not compiled yet.
    fn prepare(&mut self, gpu: &Gpu) -> Result<()>;

    /// By DESIGN's count: only what the mask leaves, whatever the kernel computes.
    fn flops(&self) -> f64;

    /// Bytes beside the operands.
    fn scratch_bytes(&self) -> u64;

    /// Bytes read and written at the least, of a kernel that does little else.
    fn moved_bytes(&self) -> Option<u64> {
        None
    }

    /// Bytes read at the least, of a kernel whose reads are its work.
    fn read_bytes(&self) -> Option<u64> {
        None
    }

    /// What every run must write anew.
    fn outputs(&self) -> Vec<&Buffer>;

    /// Compares the outputs' bytes with the reference.
    fn accuracy(&self, outputs: &[Vec<u8>]) -> Accuracy;
}

impl Row {
    /// The row with its time divided by that of `baseline`, which is called `name`.
    pub fn over(self, name: &'static str, baseline: &Row) -> Self {
        let label = baseline.label();
        Self {
            baseline: Some(Baseline { label, name }),
            ..self
        }
    }

    /// The row in words; `--only` looks into this.
    pub fn label(&self) -> String {
        let shape = &self.problem.shape;
        format!(
            "{} {} {} {} B={} Hq={} Hkv={} Nq={} Nk={} D={} Dv={} {}",
            self.kernel,
            self.strategy,
            self.problem.q.element,
            self.mask(),
            shape.batch,
            shape.q_heads,
            shape.kv_heads,
            shape.q_len,
            shape.kv_len,
            shape.head_dim,
            shape.value_dim,
            self.params,
        )
    }

    /// `full`, `causal`, `window:256,0`, `blocks:64`, `top-k:16,64`.
    pub fn mask(&self) -> String {
        let mask = &self.problem.mask;
        let side = |keys: Option<u32>| keys.map_or("inf".to_string(), |n| n.to_string());
        let window = mask
            .window
            .map(|w| format!("window:{},{}", side(w.left), side(w.right)));
        let causal = mask.causal.then(|| "causal".to_string());
        let blocks = mask
            .host_blocks()
            .map(|blocks| format!("blocks:{}", blocks.grid().side));
        let chosen = mask
            .selected_blocks()
            .map(|select| format!("top-k:{},{}", select.count, select.side));
        let kinds: Vec<_> = [causal, window, blocks, chosen]
            .into_iter()
            .flatten()
            .collect();
        match kinds.is_empty() {
            true => "full".to_string(),
            false => kinds.join(","),
        }
    }
}

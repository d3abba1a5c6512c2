//! Plan, prepare, run: the one file that knows the others.

use std::sync::Arc;

use crate::call::{Call, Operands};
use crate::caps::Caps;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::plan::{Backward, BlockScan, Choice, Embedding, Merge, Plan, Rotation};
use crate::problem::Problem;
use crate::tables::Tables;

/// Attention on one device. Clones share the compiled kernels; the device stays the application's.
#[derive(Clone, Debug)]
pub struct Attention {
    device: wgpu::Device,
    caps: Caps,
    kernels: Arc<Kernels>,
    tables: Arc<Tables>,
}

impl Attention {
    /// Keeps a clone of the device's handle.
    pub fn new(device: &wgpu::Device) -> Self {
        Self::with_caps(device, Caps::of(device, None))
    }

    /// The same, and plans say what the adapter has that the device was not requested with.
    pub fn with_adapter(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Self {
        Self::with_caps(device, Caps::of(device, Some(adapter)))
    }

    /// For a caller who knows the device better; claiming more than it has leads to errors in `prepare`.
    pub fn with_caps(device: &wgpu::Device, caps: Caps) -> Self {
        Self {
            device: device.clone(),
            caps,
            kernels: Arc::default(),
            tables: Arc::default(),
        }
    }

    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Chooses how a problem is computed here. Pure: no GPU is touched.
    pub fn plan(&self, problem: &Problem) -> Result<Plan> {
        self.plan_with(problem, &Choice::default())
    }

    /// The same, with some choices made by the caller.
    pub fn plan_with(&self, problem: &Problem, choice: &Choice) -> Result<Plan> {
        Plan::attention(problem, &self.caps, choice)
    }

    /// Plans the backward pass of an attention call, which takes what the forward call kept: o and lse.
    pub fn plan_backward(&self, backward: &Backward) -> Result<Plan> {
        self.plan_backward_with(backward, &Choice::default())
    }

    /// The same, with some choices made by the caller.
    pub fn plan_backward_with(&self, backward: &Backward, choice: &Choice) -> Result<Plan> {
        Plan::backward(backward, &self.caps, choice)
    }

    /// Plans the merge of partial results.
    pub fn plan_merge(&self, merge: &Merge) -> Result<Plan> {
        Plan::merge(merge, &self.caps, &Choice::default())
    }

    /// Plans a rotation of rows by their positions, as an operation of its own.
    pub fn plan_rotation(&self, rotation: &Rotation) -> Result<Plan> {
        Plan::rotation(rotation, &self.caps, &Choice::default())
    }

    /// Plans adding a table's rows to embeddings by position.
    pub fn plan_embedding(&self, embedding: &Embedding) -> Result<Plan> {
        Plan::embedding(embedding, &self.caps, &Choice::default())
    }

    /// Plans the block lists of a mask_mod.
    pub fn plan_scan(&self, scan: &BlockScan) -> Result<Plan> {
        Plan::scan(scan, &self.caps, &Choice::default())
    }

    /// Compiles (cached), checks the operands and binds them. On native ready at its first poll; errors of the
    /// device are caught and returned.
    pub async fn prepare(&self, plan: &Plan, operands: &Operands<'_>) -> Result<Call> {
        let mut plan = plan.clone();
        if !plan.choice.shared_outputs && operands.outputs_are_shared(&plan) {
            plan = plan.with_shared_outputs()?;
        }
        Call::prepare(&self.device, &self.kernels, &self.tables, plan, operands).await
    }

    /// Compiles what these problems need ahead of their first call, from a thread if the application likes.
    pub async fn warm_up(&self, problems: &[Problem]) -> Result<()> {
        for problem in problems {
            let plan = self.plan(problem)?;
            for step in plan.steps() {
                self.kernels.get(&self.device, step, plan.mods()).await?;
            }
        }
        Ok(())
    }

    /// Pipelines compiled so far. A growing context adds none.
    pub fn compiled_variants(&self) -> usize {
        self.kernels.len()
    }
}

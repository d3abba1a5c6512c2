//! Plan, prepare, run: the one file that knows the others.

use std::sync::Arc;

use crate::caps::Caps;
use crate::error::Result;
use crate::plan::{Plan, PlanOptions};
use crate::problem::Problem;
use crate::task::{Backward, BlockScan, Embedding, KvAppend, Merge, Quantization, Rotation};

use super::call::{Call, Shared};
use super::operands::Operands;

/// Attention on one device. Clones share compiled kernels, rotary tables and scratch; the device stays the application's.
#[derive(Clone, Debug)]
pub struct Attention {
    device: wgpu::Device,
    caps: Caps,
    shared: Arc<Shared>,
}

impl Attention {
    /// Keeps a clone of the device's handle.
    pub fn new(device: &wgpu::Device) -> Self {
        Self::of(device, Caps::of(device, None))
    }

    /// The same, and plans say what the adapter has that the device was not requested with.
    pub fn with_adapter(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Self {
        Self::of(device, Caps::of(device, Some(adapter)))
    }

    /// For a caller who wants plans to count on less than the device has, or on subgroups of more widths.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Claim`] where the device has less. `class`, `lanes` and `subgroups_offered` are taken as they are: no answer
    /// depends on them. Subgroup widths are not held where the adapter does not tell its own.
    pub fn with_caps(device: &wgpu::Device, caps: Caps) -> Result<Self> {
        caps.check_within(&Caps::of(device, None))?;
        Ok(Self::of(device, caps))
    }

    fn of(device: &wgpu::Device, caps: Caps) -> Self {
        Self {
            device: device.clone(),
            caps,
            shared: Arc::default(),
        }
    }

    /// What plans may count on.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The application's device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Chooses how a problem is computed here. Pure: no GPU is touched.
    pub fn plan(&self, problem: &Problem) -> Result<Plan> {
        self.plan_with(problem, &PlanOptions::default())
    }

    /// The same, with some choices made by the caller.
    pub fn plan_with(&self, problem: &Problem, options: &PlanOptions) -> Result<Plan> {
        Plan::attention(problem, &self.caps, options)
    }

    /// Plans the backward pass of an attention call, which takes what the forward call kept: o and lse.
    pub fn plan_backward(&self, backward: &Backward) -> Result<Plan> {
        self.plan_backward_with(backward, &PlanOptions::default())
    }

    /// The same, with some choices made by the caller.
    pub fn plan_backward_with(&self, backward: &Backward, options: &PlanOptions) -> Result<Plan> {
        Plan::backward(backward, &self.caps, options)
    }

    /// Plans the merge of partial results.
    pub fn plan_merge(&self, merge: &Merge) -> Result<Plan> {
        Plan::merge(merge, &self.caps, &PlanOptions::default())
    }

    /// Plans a rotation of rows by their positions, as an operation of its own.
    pub fn plan_rotation(&self, rotation: &Rotation) -> Result<Plan> {
        Plan::rotation(rotation, &self.caps, &PlanOptions::default())
    }

    /// Plans writing new keys and values into a cache.
    pub fn plan_append(&self, append: &KvAppend) -> Result<Plan> {
        Plan::append(append, &self.caps, &PlanOptions::default())
    }

    /// Plans adding a table's rows to embeddings by position.
    pub fn plan_embedding(&self, embedding: &Embedding) -> Result<Plan> {
        Plan::embedding(embedding, &self.caps, &PlanOptions::default())
    }

    /// Plans storing rows with their scales.
    pub fn plan_quantization(&self, quantization: &Quantization) -> Result<Plan> {
        Plan::quantization(quantization, &self.caps, &PlanOptions::default())
    }

    /// Plans the block lists of a mask_mod.
    pub fn plan_scan(&self, scan: &BlockScan) -> Result<Plan> {
        Plan::scan(scan, &self.caps, &PlanOptions::default())
    }

    /// Compiles (cached), checks the operands and binds them. On native ready at its first poll; errors of the
    /// device are caught and returned. A plan for more than this device has is refused.
    pub async fn prepare(&self, plan: &Plan, operands: &Operands<'_>) -> Result<Call> {
        if plan.caps != self.caps {
            plan.caps.check_within(&Caps::of(&self.device, None))?;
        }
        let mut plan = plan.clone();
        if !plan.options.shared_outputs && operands.outputs_are_shared(&plan) {
            plan = plan.with_shared_outputs()?;
        }
        Call::prepare(&self.device, &self.shared, plan, operands).await
    }

    /// Compiles what these problems need ahead of their first call, from a thread if the application likes.
    pub async fn warm_up(&self, problems: &[Problem]) -> Result<()> {
        let compiled = self.compile(problems).await;
        self.refuse_lost()?;
        compiled
    }

    /// What came of a call matters no more where the device is lost.
    pub(super) fn refuse_lost(&self) -> Result<()> {
        self.shared.liveness.check(&self.device)
    }

    async fn compile(&self, problems: &[Problem]) -> Result<()> {
        for problem in problems {
            let plan = self.plan(problem)?;
            for step in plan.steps() {
                self.shared
                    .pipelines
                    .get(&self.device, step, plan.mods())
                    .await?;
            }
        }
        Ok(())
    }

    /// Kernels that are kept, compiled: the 256 used last, where there were more. A growing context adds none.
    pub fn compiled_variants(&self) -> usize {
        self.shared.pipelines.len()
    }

    /// Frees what is kept for later calls and what no call holds: buffers, rotary tables and compiled kernels. The next
    /// call of their kind makes them anew.
    pub fn trim(&self) {
        self.shared.arena.trim();
        self.shared.constants.trim();
        self.shared.tables.trim();
        self.shared.pipelines.trim();
    }

    /// Bytes of scratch that dropped calls left for later ones, 256 MiB at most. A call that is prepared again takes its
    /// scratch from there.
    pub fn waiting_scratch_bytes(&self) -> u64 {
        self.shared.arena.waiting_bytes()
    }

    /// Bytes of small operands and parameters that dropped calls left, 16 MiB at most. A call whose plan was prepared
    /// before takes its own from there.
    pub fn waiting_constant_bytes(&self) -> u64 {
        self.shared.constants.waiting_bytes()
    }

    /// Bytes of rotary tables that are kept: the 8 used last, 128 MiB of them at most unless one alone is larger.
    pub fn table_bytes(&self) -> u64 {
        self.shared.tables.bytes()
    }
}

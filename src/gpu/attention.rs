//! Plan, prepare, run: where an application begins.

use std::borrow::Cow;
use std::sync::Arc;

use crate::caps::Caps;
use crate::error::Result;
use crate::plan::{Plan, PlanOptions};
use crate::problem::Problem;
use crate::task::{Backward, BlockScan, Embedding, KvAppend, Merge, Quantization, Rotation};
use crate::tuning::Tuning;

use super::call::Call;
use super::clock::Clock;
use super::operands::Operands;
use super::pipelines::Pipelines;
use super::shared::Shared;
use super::warm_up::{Wanted, WarmUp};

/// Attention on one device. Clones share compiled kernels, rotary tables and scratch; the device stays the application's.
#[derive(Clone, Debug)]
pub struct Attention {
    device: wgpu::Device,
    caps: Caps,
    /// The application gave the caps.
    claims: bool,
    tuning: Option<Arc<Tuning>>,
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
        Ok(Self::claiming(device, &caps))
    }

    pub(super) fn claiming(device: &wgpu::Device, caps: &Caps) -> Self {
        Self {
            claims: true,
            ..Self::of(device, caps.clone())
        }
    }

    fn of(device: &wgpu::Device, caps: Caps) -> Self {
        Self {
            device: device.clone(),
            caps,
            claims: false,
            tuning: None,
            shared: Arc::default(),
        }
    }

    /// Plans take their tiles from what was measured on this device ([`Attention::tune`]) where it says something of them. A
    /// tuning of another adapter, driver or version of the library is left out, and every plan's notes say so.
    #[must_use]
    pub fn with_tuning(mut self, tuning: impl Into<Option<Tuning>>) -> Self {
        self.tuning = tuning.into().map(Arc::new);
        self
    }

    /// What was measured, where plans are to use it.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.tuning.as_deref()
    }

    /// The options of a call, with the tuning where it has none of its own.
    fn options<'a>(&self, options: &'a PlanOptions) -> Cow<'a, PlanOptions> {
        match (&self.tuning, &options.tuning) {
            (Some(tuning), None) => Cow::Owned(options.clone().with_tuning(tuning.clone())),
            _ => Cow::Borrowed(options),
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
        Plan::attention(problem, &self.caps, &self.options(options))
    }

    /// Plans the backward pass of an attention call, which takes what the forward call kept: o and lse.
    pub fn plan_backward(&self, backward: &Backward) -> Result<Plan> {
        self.plan_backward_with(backward, &PlanOptions::default())
    }

    /// The same, with some choices made by the caller.
    pub fn plan_backward_with(&self, backward: &Backward, options: &PlanOptions) -> Result<Plan> {
        Plan::backward(backward, &self.caps, &self.options(options))
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

    /// Compiles what is not compiled yet, checks the operands and binds them. Natively a thread of the library's compiles,
    /// and the future pends until it is done (others that want the same kernel wait for the same compiler); where all is
    /// compiled it is ready at its first poll. In a browser, which compiles in another process, it is always ready at once.
    ///
    /// # Errors
    ///
    /// Those of operands that do not fit the plan, [`crate::Error::Claim`] for a plan for more than this device has, [`crate::Error::OutOfMemory`],
    /// [`crate::Error::DeviceLost`], and what else the device refuses: it is caught, and reaches no handler of the application's.
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

    /// Compiles what these plans need ahead of their first calls, in the background: a future that tells how far it is
    /// ([`WarmUp::progress`]) and ends when a call of each costs what later ones cost. Plans of every kind, with the options
    /// that the calls will have. Kernels that several need are compiled once, and those that are there cost nothing.
    ///
    /// Some drivers compile when a kernel first runs: each is dispatched once, over no workgroup, in submissions of its own
    /// to `queue`. Nothing of the application's is bound or waited for. Rotary tables of the plans are made, too.
    ///
    /// # Errors
    ///
    /// Of the future: [`crate::Error::Claim`] for a plan for more than the device has, [`crate::Error::Cancelled`],
    /// [`crate::Error::DeviceLost`], [`crate::Error::ForeignQueue`], and what a compiler refuses.
    pub fn warm_up(&self, queue: &wgpu::Queue, plans: &[Plan]) -> WarmUp {
        let wanted = Wanted::of(plans, &self.caps);
        WarmUp::new(&self.device, queue, &self.shared, wanted)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// What came of a call matters no more where the device is lost.
    pub(super) fn refuse_lost(&self) -> Result<()> {
        self.shared.liveness.check(&self.device)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn pipelines(&self) -> &Pipelines {
        &self.shared.pipelines
    }

    /// What the application lets plans count on, if it does.
    pub(super) fn claimed(&self) -> Option<&Caps> {
        self.claims.then_some(&self.caps)
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

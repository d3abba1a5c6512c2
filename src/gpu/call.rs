//! A prepared call: buffers bound, parameters staged, ready to record, as often as one likes.

mod pieces;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::plan::{AuxCopy, Check, Plan, Slot};
use crate::problem::Role;

use super::arena::Scratch;
use super::binding::{Parameters, bind_step};
use super::buffers::scoped;
use super::compile::Pipeline;
use super::constants::Constants;
use super::handles::{blame, rehearse};
use super::operands::Operands;
use super::shared::Shared;
use super::staging::Staging;

pub(super) const FEWER_BYTES: &str = "free what is kept (Attention::trim), drop calls that are not needed, or plan parts of it: fewer \
                           batches, heads or queries per call, and PlanOptions with fewer splits";

/// A check and the buffer of its operand.
pub(super) type Checked = (Check, wgpu::Buffer);

/// One dispatch, bound.
#[derive(Debug)]
struct Bound {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    /// The word of the parameters where its work begins, where its shader reads that.
    work_at: Option<u32>,
}

/// Buffers bound and parameters staged. Recording it touches nothing but the encoder; it can be recorded again, as
/// long as the operands' buffers live.
#[derive(Debug)]
pub struct Call {
    plan: Plan,
    steps: Vec<Bound>,
    copies: Vec<(wgpu::Buffer, AuxCopy)>,
    /// There until the call is dropped.
    constants: Option<Constants>,
    aux: wgpu::Buffer,
    scratch: Scratch,
    lens: Option<Vec<u32>>,
    offsets: Option<Vec<u32>>,
    /// The parameters of all steps with another scale.
    params: Option<Vec<u32>>,
    staging: Staging,
    pub(super) checked: Vec<Checked>,
    /// There where something is to be checked.
    pub(super) check_pipeline: Option<Arc<Pipeline>>,
    pub(super) device: wgpu::Device,
    pub(super) shared: Arc<Shared>,
}

impl Call {
    /// The error is the device's loss where it is lost, whatever else came of that.
    pub(super) async fn prepare(
        device: &wgpu::Device,
        shared: &Arc<Shared>,
        plan: Plan,
        operands: &Operands<'_>,
    ) -> Result<Self> {
        let call = Self::bound(device, shared, &plan, operands).await;
        shared.liveness.check(device)?;
        match call {
            Ok(call) => Ok(call),
            Err(error) => Err(blame(device, &plan, operands, error).await),
        }
    }

    async fn bound(
        device: &wgpu::Device,
        shared: &Arc<Shared>,
        plan: &Plan,
        operands: &Operands<'_>,
    ) -> Result<Self> {
        operands.check(plan)?;
        let (compiled, check_pipeline) = shared.pipelines.of(device, plan).await?;
        let table = match &plan.table {
            Some(need) => Some(shared.tables.get(device, need).await?),
            None if plan.rows_given => Some(operands.get(Role::Rotations)?.clone()),
            None => None,
        };
        let mut copies = Vec::new();
        for copy in &plan.copies {
            copies.push((operands.get(copy.role)?.clone(), *copy));
        }
        let mut checked = Vec::new();
        for check in plan.checks() {
            checked.push((check.clone(), operands.get(check.role)?.clone()));
        }
        let (constants, scratch, steps) = scoped(device, "preparing a call", || {
            let scratch = shared.arena.take(device, plan.scratch());
            let params = Parameters::new(plan.steps(), &compiled);
            let constants = shared.constants.take(device, plan, params.bytes.clone());
            let buffers = Buffers {
                operands,
                table: table.as_ref(),
                scratch: &scratch.buffers,
                constants: &constants,
            };
            let steps = bind(device, plan, &buffers, &params, compiled)?;
            rehearse(device, &copies, &constants.aux);
            Ok((constants, scratch, steps))
        })
        .await
        .map_err(|error| error.allocating(plan.scratch_bytes(), FEWER_BYTES))??;
        Ok(Self {
            steps,
            plan: plan.clone(),
            copies,
            aux: constants.aux.clone(),
            constants: Some(constants),
            scratch,
            lens: None,
            offsets: None,
            params: None,
            staging: Staging::default(),
            checked,
            check_pipeline,
            device: device.clone(),
            shared: shared.clone(),
        })
    }

    /// The plan that is carried out. It differs from the one prepared where an output shares its buffer with another
    /// operand.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Records all steps. Submitting is the caller's.
    ///
    /// The encoder must be of the [`super::Attention`]'s device, and when it is submitted every operand's buffer must live, unmapped.
    /// wgpu tells neither before: `finish` or `submit` report it to the application.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.encode_steps(encoder, 0..self.steps.len());
    }

    /// Records a part of the steps (numbers past the end are left out), so that a long call can be spread over
    /// several submissions. All of them, in order, make the call.
    pub fn encode_steps(&self, encoder: &mut wgpu::CommandEncoder, steps: Range<usize>) {
        let end = steps.end.min(self.steps.len());
        if steps.start >= end {
            return;
        }
        let _span = tracing::debug_span!("encode", steps = end - steps.start).entered();
        if steps.start == 0 {
            self.encode_before(encoder);
        }
        self.encode_pass(encoder, steps.start..end);
        self.encode_after(encoder, steps.start..end);
    }

    /// Gives the call other lengths, in place of those of `Lengths::Host`: what is recorded from now on computes with
    /// them. Nothing is planned, bound or compiled; each recording copies them, so that several in one encoder each keep
    /// their own.
    ///
    /// # Errors
    ///
    /// [`Error::NotHostHeld`] where the problem does not hold them on the host, [`Error::Element`] where one is longer
    /// than the plan's: steps are cut and keys split for those.
    pub fn set_kv_lens(&mut self, lens: &[u32]) -> Result<()> {
        self.plan.check_kv_lens(lens)?;
        self.lens = Some(lens.to_vec());
        Ok(())
    }

    /// The same of the offsets of `Offsets::Host`.
    ///
    /// # Errors
    ///
    /// [`Error::NotHostHeld`] where the problem does not hold them on the host, [`Error::Element`] where one may show more
    /// keys than the plan's, or any other than the plan's where q is rotated by its index or blocks are chosen.
    pub fn set_q_offset(&mut self, offsets: &[i32]) -> Result<()> {
        self.plan.check_q_offset(offsets)?;
        self.offsets = Some(offsets.iter().map(|&offset| offset as u32).collect());
        Ok(())
    }

    /// The same of the factor on q·k ([`Problem::scale`](crate::Problem::scale)).
    ///
    /// # Errors
    ///
    /// [`Error::Number`] out of its range, [`Error::NotHostHeld`] where the call attends to nothing.
    pub fn set_scale(&mut self, scale: f32) -> Result<()> {
        self.plan.check_scale(scale)?;
        let scaled = self.plan.steps().iter().cloned().map(|mut step| {
            step.params.score.scale = scale;
            step
        });
        let pipelines: Vec<_> = self
            .steps
            .iter()
            .map(|step| step.pipeline.clone())
            .collect();
        let params = Parameters::new(&scaled.collect::<Vec<_>>(), &pipelines);
        self.params = Some(bytemuck::pod_collect_to_vec(&params.bytes));
        Ok(())
    }

    /// Copies what was set since the call was prepared.
    fn encode_values(&self, encoder: &mut wgpu::CommandEncoder) {
        let at = &self.plan.host_at;
        let of =
            |at: Option<u32>, values: &Option<Vec<u32>>| Some((&self.aux, at?, values.clone()?));
        let runs = [of(at.lens, &self.lens), of(at.offsets, &self.offsets)];
        let mut runs: Vec<_> = runs.into_iter().flatten().collect();
        let params = self.constants.as_ref().zip(self.params.clone());
        runs.extend(params.map(|(constants, words)| (&constants.params, 0, words)));
        if !runs.iter().all(|(_, _, words)| words.is_empty()) {
            self.staging.record(&self.device, encoder, &runs);
        }
    }

    fn encode_pass(&self, encoder: &mut wgpu::CommandEncoder, steps: Range<usize>) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("attention"),
            timestamp_writes: None,
        });
        for step in &self.steps[steps] {
            step.dispatch(&mut pass, step.grid);
        }
    }
}

impl AuxCopy {
    /// Records it, between an operand's buffer and the call's own.
    pub(super) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        operand: &wgpu::Buffer,
        aux: &wgpu::Buffer,
    ) {
        let bytes = |words: u32| u64::from(words) * 4;
        let (at, size) = (bytes(self.at), bytes(self.words));
        match self.out {
            None => encoder.copy_buffer_to_buffer(operand, 0, aux, at, size),
            Some(out) => encoder.copy_buffer_to_buffer(aux, at, operand, bytes(out.to), size),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.arena.put(self.scratch.buffers.drain(..));
        // Where other values were copied in, the buffer holds no longer what a plan expects.
        let is_as_planned = self.lens.is_none() && self.offsets.is_none() && self.params.is_none();
        if let Some(constants) = self.constants.take().filter(|_| is_as_planned) {
            self.shared.constants.put(constants);
        }
    }
}

/// What steps bind.
struct Buffers<'a> {
    operands: &'a Operands<'a>,
    table: Option<&'a wgpu::Buffer>,
    scratch: &'a [wgpu::Buffer],
    constants: &'a Constants,
}

impl<'a> Buffers<'a> {
    fn of(&self, slot: Slot) -> Result<&'a wgpu::Buffer> {
        Ok(match slot {
            Slot::Operand(role) => self.operands.get(role)?,
            Slot::Scratch(n) => &self.scratch[n],
            Slot::Aux => &self.constants.aux,
            Slot::Table => self.table.ok_or(Error::Missing {
                what: "the rotary table",
            })?,
        })
    }
}

/// Binds every step.
fn bind(
    device: &wgpu::Device,
    plan: &Plan,
    buffers: &Buffers<'_>,
    params: &Parameters,
    compiled: Vec<Arc<Pipeline>>,
) -> Result<Vec<Bound>> {
    let mut steps = Vec::with_capacity(compiled.len());
    for (n, (step, pipeline)) in plan.steps().iter().zip(compiled).enumerate() {
        let params = params.of(n, &buffers.constants.params);
        let work = step.params.offset_of("work", &pipeline.groups);
        let work_at = work.map(|at| ((params.offset + at) / 4) as u32);
        let group = bind_step(device, &pipeline, step, params, |slot| buffers.of(slot))?;
        steps.push(Bound {
            work_at,
            pipeline,
            group,
            grid: step.grid,
        });
    }
    Ok(steps)
}

//! A prepared call: buffers bound, parameters staged, ready to record, as often as one likes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::check::Checked;
use crate::error::{Error, Result};
use crate::kernels::{Kernel, Kernels, scoped};
use crate::plan::{AuxCopy, PARAMS_STRIDE, Plan, Requirement, Role, Slot, Step};
use crate::tables::Tables;

/// The buffers of a call.
#[derive(Clone, Debug, Default)]
pub struct Operands<'a> {
    buffers: BTreeMap<Role, &'a wgpu::Buffer>,
}

impl<'a> Operands<'a> {
    /// The operands of an attention call.
    pub fn new(
        q: &'a wgpu::Buffer,
        k: &'a wgpu::Buffer,
        v: &'a wgpu::Buffer,
        o: &'a wgpu::Buffer,
        lse: &'a wgpu::Buffer,
    ) -> Self {
        Self::default()
            .with(Role::Q, q)
            .with(Role::K, k)
            .with(Role::V, v)
            .with(Role::O, o)
            .with(Role::Lse, lse)
    }

    /// The operands of a backward pass beside q, k, v, o and lse, which [`Operands::new`] takes: dO, and where the
    /// gradients go.
    pub fn backward(
        self,
        d_o: &'a wgpu::Buffer,
        dq: &'a wgpu::Buffer,
        dk: &'a wgpu::Buffer,
        dv: &'a wgpu::Buffer,
    ) -> Self {
        self.with(Role::DO, d_o)
            .with(Role::DQ, dq)
            .with(Role::DK, dk)
            .with(Role::DV, dv)
    }

    /// The operands of a merge.
    pub fn merge(
        partial_o: &'a wgpu::Buffer,
        partial_lse: &'a wgpu::Buffer,
        o: &'a wgpu::Buffer,
        lse: &'a wgpu::Buffer,
    ) -> Self {
        Self::default()
            .with(Role::PartialO, partial_o)
            .with(Role::PartialLse, partial_lse)
            .with(Role::O, o)
            .with(Role::Lse, lse)
    }

    /// The operands of a rotation; both may be the same buffer.
    pub fn rotation(rows: &'a wgpu::Buffer, turned: &'a wgpu::Buffer) -> Self {
        Self::default()
            .with(Role::Rows, rows)
            .with(Role::Turned, turned)
    }

    /// The operands of an [`crate::Embedding`].
    pub fn embedding(table: &'a wgpu::Buffer, embeddings: &'a wgpu::Buffer) -> Self {
        Self::default()
            .with(Role::Table, table)
            .with(Role::Embeddings, embeddings)
    }

    /// Adds or replaces one operand.
    pub fn with(mut self, role: Role, buffer: &'a wgpu::Buffer) -> Self {
        self.buffers.insert(role, buffer);
        self
    }

    fn get(&self, role: Role) -> Result<&'a wgpu::Buffer> {
        self.buffers
            .get(&role)
            .copied()
            .ok_or(Error::Missing { what: role.name() })
    }

    /// True when an output of `plan` shares its buffer with another operand that the plan binds.
    pub(crate) fn outputs_are_shared(&self, plan: &Plan) -> bool {
        let bound: Vec<_> = plan
            .requirements()
            .iter()
            .filter(|need| need.storage)
            .filter_map(|need| Some((need, *self.buffers.get(&need.role)?)))
            .collect();
        bound.iter().any(|(need, buffer)| {
            need.output
                && bound
                    .iter()
                    .any(|(other, shared)| other.role != need.role && shared == buffer)
        })
    }

    /// Two outputs in one buffer must lie apart; only where one fills its part without gaps can that be told. So must
    /// the gradients of the score's numbers and the operands, which are read when the first of those are written.
    fn check_overlap(&self, plan: &Plan) -> Result<()> {
        let needs = plan.requirements();
        let is_early =
            |need: &Requirement| matches!(need.role, Role::DSlopes | Role::DT5 | Role::DSinks);
        for (n, a) in needs.iter().enumerate().filter(|(_, a)| a.output) {
            let others = needs.iter().enumerate();
            let others = others.filter(|&(m, b)| if b.output { m > n } else { is_early(a) });
            for (_, b) in others {
                let shared = self.buffers.get(&a.role) == self.buffers.get(&b.role);
                let meet = a.start.max(b.start) < a.bytes.min(b.bytes);
                if shared && meet && (a.dense || b.dense || a.start == b.start) {
                    return Err(Error::SharedBytes {
                        what: a.role.name(),
                        other: b.role.name(),
                        start: a.start.max(b.start),
                        end: a.bytes.min(b.bytes),
                    });
                }
            }
        }
        Ok(())
    }

    /// Holds size and usage of every buffer against what the plan requires.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        self.check_overlap(plan)?;
        for need in plan.requirements() {
            let buffer = self.get(need.role)?;
            if buffer.size() < need.bytes {
                return Err(Error::BufferSize {
                    what: need.role.name(),
                    actual: buffer.size(),
                    least: need.bytes,
                });
            }
            let (usage, name) = match (need.storage, need.output) {
                (true, _) => (wgpu::BufferUsages::STORAGE, "STORAGE"),
                (false, true) => (wgpu::BufferUsages::COPY_DST, "COPY_DST"),
                (false, false) => (wgpu::BufferUsages::COPY_SRC, "COPY_SRC"),
            };
            if need.bytes > 0 && !buffer.usage().contains(usage) {
                return Err(Error::BufferUsage {
                    what: need.role.name(),
                    missing: name,
                });
            }
        }
        Ok(())
    }
}

/// One dispatch, bound.
#[derive(Debug)]
struct Bound {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
}

/// Buffers bound and parameters staged. Recording it touches nothing but the encoder; it can be recorded again, as
/// long as the operands' buffers live.
#[derive(Debug)]
pub struct Call {
    plan: Plan,
    steps: Vec<Bound>,
    copies: Vec<(wgpu::Buffer, AuxCopy)>,
    aux: wgpu::Buffer,
    pub(crate) checked: Vec<Checked>,
    pub(crate) device: wgpu::Device,
    pub(crate) kernels: Arc<Kernels>,
}

impl Call {
    pub(crate) async fn prepare(
        device: &wgpu::Device,
        kernels: &Arc<Kernels>,
        tables: &Tables,
        plan: Plan,
        operands: &Operands<'_>,
    ) -> Result<Self> {
        operands.check(&plan)?;
        let mut compiled = Vec::with_capacity(plan.steps().len());
        for step in plan.steps() {
            compiled.push(kernels.get(device, step, plan.mods()).await?);
        }
        let table = match &plan.table {
            Some(need) => Some(tables.get(device, need).await?),
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
        let (aux, steps) = scoped(device, "preparing a call", || {
            bind(device, &plan, operands, table.as_ref(), compiled)
        })
        .await?;
        Ok(Self {
            steps: steps?,
            plan,
            copies,
            aux,
            checked,
            device: device.clone(),
            kernels: kernels.clone(),
        })
    }

    /// The plan that is carried out. It differs from the one prepared where an output shares its buffer with another
    /// operand.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Records all steps. Submitting is the caller's.
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
        let bytes = |words: u32| u64::from(words) * 4;
        for (buffer, copy) in &self.copies {
            if copy.out.is_none() && steps.start == 0 {
                let (at, size) = (bytes(copy.at), bytes(copy.words));
                encoder.copy_buffer_to_buffer(buffer, 0, &self.aux, at, size);
            }
        }
        self.encode_pass(encoder, steps.start..end);
        for (buffer, copy) in &self.copies {
            let out = copy
                .out
                .filter(|out| steps.start < out.after && out.after <= end);
            if let Some(out) = out {
                let (at, size) = (bytes(copy.at), bytes(copy.words));
                encoder.copy_buffer_to_buffer(&self.aux, at, buffer, bytes(out.to), size);
            }
        }
    }

    fn encode_pass(&self, encoder: &mut wgpu::CommandEncoder, steps: Range<usize>) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("attention"),
            timestamp_writes: None,
        });
        for step in &self.steps[steps] {
            pass.set_pipeline(&step.kernel.pipeline);
            pass.set_bind_group(0, &step.group, &[]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
        }
    }
}

/// Allocates what the call owns and binds every step.
fn bind(
    device: &wgpu::Device,
    plan: &Plan,
    operands: &Operands<'_>,
    table: Option<&wgpu::Buffer>,
    compiled: Vec<Arc<Kernel>>,
) -> (wgpu::Buffer, Result<Vec<Bound>>) {
    let aux = filled(
        device,
        "aux",
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        bytemuck::cast_slice(&plan.aux),
    );
    let mut bytes = vec![0; plan.steps().len() * PARAMS_STRIDE as usize];
    for (place, step) in bytes
        .chunks_exact_mut(PARAMS_STRIDE as usize)
        .zip(plan.steps())
    {
        let params = bytemuck::bytes_of(&step.params);
        place[..params.len()].copy_from_slice(params);
    }
    let params = filled(device, "parameters", wgpu::BufferUsages::UNIFORM, &bytes);
    let scratch: Vec<_> = plan
        .scratch()
        .iter()
        .map(|&size| scratch_buffer(device, size))
        .collect();
    let bound = |(n, (step, kernel)): (usize, (&Step, Arc<Kernel>))| {
        let mut entries = vec![entry(0, &params, n as u64 * PARAMS_STRIDE, PARAMS_STRIDE)];
        for (binding, number) in step.bindings.iter().zip(1..) {
            entries.push(match binding.slot {
                Slot::Operand(role) => {
                    entry(number, operands.get(role)?, binding.offset, binding.size)
                }
                Slot::Scratch(n) => entry(number, &scratch[n], binding.offset, binding.size),
                Slot::Aux => entry(number, &aux, 0, aux.size()),
                Slot::Table => {
                    let table = table.ok_or(Error::Missing {
                        what: "the rotary table",
                    })?;
                    entry(number, table, binding.offset, binding.size)
                }
            });
        }
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("attention"),
            layout: &kernel.layout,
            entries: &entries,
        });
        Ok(Bound {
            kernel,
            group,
            grid: step.grid,
        })
    };
    let steps = plan
        .steps()
        .iter()
        .zip(compiled)
        .enumerate()
        .map(bound)
        .collect();
    (aux, steps)
}

fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindGroupEntry<'_> {
    let size = wgpu::BufferSize::new(size);
    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer,
        offset,
        size,
    });
    wgpu::BindGroupEntry { binding, resource }
}

fn scratch_buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("attention scratch"),
        size,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    })
}

/// A buffer with its contents, without a queue.
pub(crate) fn filled(
    device: &wgpu::Device,
    label: &str,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: (bytes.len() as u64).max(16).next_multiple_of(16),
        usage: usage | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: true,
    });
    // On a lost device nothing is mapped; the error scope around tells.
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.slice(..bytes.len()).copy_from_slice(bytes);
    }
    buffer.unmap();
    buffer
}

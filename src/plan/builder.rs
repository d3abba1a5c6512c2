//! A plan in the making: what every family needs to lay out bindings, scratch and grids.

mod small;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{Params, ROW_KERNEL_INVOCATIONS, Variant};
use crate::problem::{Element, Mods, Operand, Problem, Role};
use crate::task::Task;

use super::limits::{binding_limit, check_binding, check_buffer, check_steps, product};
use super::pace::{step_flops, workgroup_flops_in};
use super::step::Bindings;
use super::tiles::Asked;
use super::view::{LEAST_SCRATCH, Rows, View};
use super::{
    AuxCopy, Binding, Cost, Declined, HostAt, Plan, PlanOptions, Requirement, Slot, Step, TableNeed,
};

pub(super) struct PlanBuilder<'a> {
    pub caps: &'a Caps,
    pub options: &'a PlanOptions,
    pub steps: Vec<Step>,
    pub declined: Vec<Declined>,
    pub notes: Vec<String>,
    pub asked: Vec<Asked>,
    scratch: Vec<(&'static str, u64)>,
    aux: Vec<u32>,
    copies: Vec<AuxCopy>,
    host_at: HostAt,
    requirements: Vec<Requirement>,
    pub table: Option<TableNeed>,
    /// The caller's rows stand in the rotary table's place.
    pub rows_given: bool,
    /// What a pair costs with the user's functions over what its products cost, rounded up.
    load: u64,
}

impl<'a> PlanBuilder<'a> {
    pub fn new(caps: &'a Caps, options: &'a PlanOptions) -> Self {
        Self {
            caps,
            options,
            steps: Vec::new(),
            declined: Vec::new(),
            notes: Vec::new(),
            asked: Vec::new(),
            scratch: Vec::new(),
            // Never empty, so that it can always be bound.
            aux: vec![0; 4],
            copies: Vec::new(),
            host_at: HostAt::default(),
            requirements: Vec::new(),
            table: None,
            rows_given: false,
            load: 1,
        }
    }

    /// For attention; the user's functions make its steps shorter.
    pub fn of(problem: &Problem, caps: &'a Caps, options: &'a PlanOptions) -> Self {
        let products = 2 * u64::from(problem.shape.head_dim + problem.shape.value_dim);
        let mods = problem.mods.as_ref().map_or(0, Mods::pair_flops);
        Self {
            load: 1 + mods.div_ceil(products),
            ..Self::new(caps, options)
        }
    }

    /// FLOPs of products that a step has at the most.
    pub fn step_flops(&self) -> u64 {
        (step_flops(self.caps.class) / self.load).max(1)
    }

    /// FLOPs of products that a workgroup has at the most, which are no more than a slice has.
    pub fn workgroup_flops(&self) -> u64 {
        let most = self.step_flops();
        match self.options.within {
            None => most,
            // A few of them, so that a slice may end about where its time does.
            Some(budget) => {
                let flops = workgroup_flops_in(self.caps.class, budget.seconds() / 2.0);
                (flops / self.load).clamp(1, most)
            }
        }
    }

    pub fn finish(self, task: Task) -> Plan {
        Plan {
            task,
            options: self.options.clone(),
            caps: self.caps.clone(),
            steps: self.steps,
            scratch: self.scratch.into_iter().map(|(_, size)| size).collect(),
            aux: self.aux,
            copies: self.copies,
            host_at: self.host_at,
            requirements: self.requirements,
            table: self.table,
            rows_given: self.rows_given,
            declined: self.declined,
            notes: self.notes,
            asked: self.asked,
        }
    }

    /// A tensor that the call reads.
    pub fn input(
        &mut self,
        role: Role,
        operand: &Operand,
        sizes: [u32; 3],
        dim: u32,
    ) -> Result<View> {
        self.operand(role, operand, sizes, dim, false)
    }

    /// A tensor that the call writes.
    pub fn output(
        &mut self,
        role: Role,
        operand: &Operand,
        sizes: [u32; 3],
        dim: u32,
    ) -> Result<View> {
        self.operand(role, operand, sizes, dim, true)
    }

    /// A caller's tensor: steps bind it, or a window of it, from an aligned-down offset, and the rest of the offset goes to the
    /// shader.
    fn operand(
        &mut self,
        role: Role,
        operand: &Operand,
        sizes: [u32; 3],
        dim: u32,
        writable: bool,
    ) -> Result<View> {
        operand.validate_stored(role.name(), sizes, dim)?;
        let bytes = operand.bytes(sizes, dim);
        let start = match bytes {
            // Where nothing lies may be anywhere.
            0 => 0,
            _ => operand.element.bytes(operand.layout.offset),
        };
        check_buffer(self.caps, role.name(), bytes)?;
        let row = operand.element.row_elements(dim);
        let elements = product(sizes.map(u64::from)).saturating_mul(row.into());
        let written = operand.element.bytes(elements);
        self.requirements.push(Requirement {
            role,
            bytes,
            storage: true,
            output: writable,
            start,
            dense: bytes - start.min(bytes) == written,
        });
        let slot = Slot::Operand(role);
        let (bits, layout) = (operand.element.bits(), operand.layout);
        Ok(View::new(slot, bits, layout, (sizes, row), bytes))
    }

    /// Says why a faster path was passed over, once.
    pub fn decline(&mut self, declined: Declined) {
        if !self.declined.contains(&declined) {
            self.declined.push(declined);
        }
    }

    /// Says something worth knowing, once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A buffer of the call's own. Steps run in order, so one of each purpose serves all slices.
    pub fn scratch(&mut self, what: &'static str, bytes: u64) -> Result<Binding> {
        self.check_binding(what, bytes)?;
        let size = bytes.max(LEAST_SCRATCH);
        Ok(Binding {
            slot: self.scratch_slot(what, size),
            offset: 0,
            size,
        })
    }

    /// Rows without gaps in a buffer of the call's own, of which steps bind windows.
    pub fn scratch_rows(
        &mut self,
        what: &'static str,
        element: u64,
        rows: &Rows,
        dim: u32,
    ) -> View {
        self.scratch_rows_at(what, element, 0, rows, dim)
    }

    /// The same from byte `at` of the buffer on.
    pub fn scratch_rows_at(
        &mut self,
        what: &'static str,
        element: u64,
        at: u64,
        rows: &Rows,
        dim: u32,
    ) -> View {
        let view = View::contiguous(Slot::Scratch(0), element, at, rows, dim);
        view.with_slot(self.scratch_slot(what, view.end()))
    }

    fn scratch_slot(&mut self, what: &'static str, size: u64) -> Slot {
        let known = self.scratch.iter().position(|&(name, _)| name == what);
        let n = known.unwrap_or_else(|| {
            self.scratch.push((what, 0));
            self.scratch.len() - 1
        });
        self.scratch[n].1 = self.scratch[n].1.max(size);
        Slot::Scratch(n)
    }

    /// Bytes of a binding at the most.
    pub fn binding_limit(&self) -> u64 {
        binding_limit(self.caps)
    }

    /// Something to bind where nothing is read: the call's small operands.
    pub fn nothing(&self) -> Binding {
        Binding {
            slot: Slot::Aux,
            offset: 0,
            size: 0,
        }
    }

    /// The workgroups of a step, folded into two dimensions where one does not hold them.
    pub fn grid(&self, workgroups: u64) -> Result<[u32; 3]> {
        let most = u64::from(self.caps.workgroups_per_dimension);
        let x = workgroups.min(most);
        let y = workgroups.div_ceil(x.max(1));
        if y > most {
            return Err(Error::Limit {
                what: "a step's workgroups",
                actual: workgroups,
                limit: "max_compute_workgroups_per_dimension",
                allowed: most * most,
                way_out: "call it by slices of the queries",
            });
        }
        Ok([x as u32, y as u32, 1])
    }

    /// Steps of a kernel whose invocations each own one of `items` pieces, at most `per_step` a step.
    pub fn item_steps(
        &mut self,
        variant: impl Into<Variant>,
        params: Params,
        bindings: Bindings,
        items: u64,
        cost: Cost,
    ) -> Result<()> {
        if items > u64::from(u32::MAX) {
            return Err(Error::Limit {
                what: "the pieces of an output",
                actual: items,
                limit: "the range of u32",
                allowed: u64::from(u32::MAX),
                way_out: "call it by slices of the queries",
            });
        }
        let grid = self.grid(items.div_ceil(u64::from(ROW_KERNEL_INVOCATIONS)))?;
        let params = params.with(|p| {
            p.work.begin = 0;
            p.work.end = items as u32;
        });
        self.push_step(Step {
            variant: variant.into(),
            bindings,
            params,
            items: ROW_KERNEL_INVOCATIONS,
            grid,
            cost,
        })
    }

    /// One more step, of which a plan holds so many and no more.
    pub fn push_step(&mut self, step: Step) -> Result<()> {
        check_steps(self.steps.len() as u64 + 1)?;
        let memory = step.variant.workgroup().memory;
        if memory > self.caps.workgroup_memory {
            return Err(Error::Limit {
                what: "a workgroup's memory",
                actual: memory.into(),
                limit: "max_compute_workgroup_storage_size",
                allowed: self.caps.workgroup_memory.into(),
                way_out: "request a device with a higher limit (wgpu_attention::wanted)",
            });
        }
        self.check_bindings(&step)?;
        self.steps.push(step);
        Ok(())
    }

    /// Refuses a step that binds more of a tensor than one binding holds.
    fn check_bindings(&self, step: &Step) -> Result<()> {
        for (_, binding) in &step.bindings {
            let what = match binding.slot {
                Slot::Operand(role) => role.name(),
                Slot::Scratch(n) => self.scratch[n].0,
                // Held where they are laid out.
                Slot::Aux | Slot::Table => continue,
            };
            self.check_binding(what, binding.size)?;
        }
        Ok(())
    }

    /// True when `operand` can be written in place: whole words of one owner each, in a buffer of its own.
    pub fn writes_in_place(&self, operand: &Operand, dim: u32) -> bool {
        let whole_words = operand.element == Element::F32
            || (operand.layout.is_aligned(2) && dim.is_multiple_of(2));
        whole_words && !self.options.shared_outputs
    }

    pub(super) fn check_binding(&self, what: &'static str, bytes: u64) -> Result<()> {
        check_binding(self.caps, what, bytes)
    }
}

//! A plan in the making: what every family needs to lay out bindings, scratch and grids.

use std::ops::Range;

use crate::caps::Caps;
use crate::error::{Error, Result};
use crate::kernel::{NOTHING, Params, ROW_KERNEL_INVOCATIONS, Sequences, Variant};
use crate::problem::{
    CuSeqlens, Element, Lengths, Mask, Mods, Offsets, Operand, Prefix, Problem, Role, Shape,
    Tokens, Values,
};
use crate::task::Task;

use super::cost::step_flops;
use super::limits::{
    MOST_AUX_BYTES, SMALL_OPERANDS, binding_limit, check_binding, check_buffer, check_iterations,
    check_steps, product,
};
use super::pace::workgroup_flops_in;
use super::step::Bindings;
use super::tiles::Asked;
use super::view::{LEAST_SCRATCH, Rows, View};
use super::{
    AuxCopy, Binding, CopyOut, Cost, Declined, HostAt, Plan, PlanOptions, Requirement, Slot, Step,
    TableNeed,
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
                let flops = workgroup_flops_in(self.caps.class, budget.seconds() / 4.0);
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

    /// Adds words to the small operands; answers where they lie.
    pub fn push_aux(&mut self, words: impl IntoIterator<Item = u32>) -> Result<u32> {
        let (at, words) = (self.aux.len() as u32, words.into_iter());
        // Before there is room for them, as far as they tell how many they are.
        self.check_aux(words.size_hint().0 as u64)?;
        self.aux.extend(words);
        self.check_aux(0)?;
        Ok(at)
    }

    /// The same word for each batch.
    pub fn push_per_batch(&mut self, params: &Params, word: u32) -> Result<u32> {
        self.push_aux(std::iter::repeat_n(word, params.sizes.batch as usize))
    }

    /// The same word for each sequence of a ragged batch, or for each batch.
    pub fn push_sequence_words(&mut self, params: &Params, word: u32) -> Result<u32> {
        self.push_aux(std::iter::repeat_n(word, params.sequences.count as usize))
    }

    /// Refuses so many more words of small operands than one binding, or the host, has room for.
    fn check_aux(&self, more: u64) -> Result<()> {
        let bytes = (self.aux.len() as u64)
            .saturating_add(more)
            .saturating_mul(4);
        self.check_binding(SMALL_OPERANDS, bytes)?;
        if bytes > MOST_AUX_BYTES {
            return Err(Error::Limit {
                what: SMALL_OPERANDS,
                actual: bytes,
                limit: "bytes of them that a plan holds",
                allowed: MOST_AUX_BYTES,
                way_out: "split the call by batch or heads",
            });
        }
        Ok(())
    }

    /// Room for a device-resident operand among the small ones; the encoder copies it there.
    pub fn copy_aux(&mut self, role: Role, words: u64) -> Result<u32> {
        // No word has its room before all have.
        self.check_aux(words)?;
        let at = self.push_aux(std::iter::repeat_n(0, words as usize))?;
        let words = words as u32;
        self.copies.push(AuxCopy {
            role,
            at,
            words,
            out: None,
        });
        self.require_copy(role, words, false);
        Ok(at)
    }

    /// Lets the encoder copy small operands from `at` on to an output of `words`, after the steps so far: these `parts`
    /// of them.
    pub fn copy_out(
        &mut self,
        role: Role,
        at: u32,
        words: u32,
        parts: impl IntoIterator<Item = Range<u32>>,
    ) {
        let after = self.steps.len();
        self.copies.extend(parts.into_iter().map(|part| AuxCopy {
            role,
            at: at + part.start,
            words: part.end - part.start,
            out: Some(CopyOut {
                after,
                to: part.start,
            }),
        }));
        self.require_copy(role, words, true);
    }

    fn require_copy(&mut self, role: Role, words: u32, output: bool) {
        self.requirements.push(Requirement {
            role,
            bytes: u64::from(words) * 4,
            storage: false,
            output,
            start: 0,
            dense: true,
        });
    }

    /// Lengths, offsets and prefixes of every batch: always there, so that no variant depends on who knows them.
    pub fn push_lengths(&mut self, problem: &Problem, params: &mut Params) -> Result<()> {
        let shape = &problem.shape;
        let batches = 0..shape.batch;
        params.intervals.lens_at = match &problem.mask.kv_lens {
            Lengths::Device => self.copy_aux(Role::KvLens, shape.batch.into())?,
            lens => {
                let known = |b: u32| match lens {
                    Lengths::Host(lens) => lens[b as usize],
                    _ => shape.kv_len,
                };
                self.push_aux(batches.clone().map(known))?
            }
        };
        params.intervals.offsets_at = match &problem.mask.q_offset {
            Offsets::Device => self.copy_aux(Role::QOffset, shape.batch.into())?,
            // Those of sequences that only the device knows come of a step.
            offsets => {
                let bottom_right = shape.kv_len as i32 - shape.q_len as i32;
                let known = |b: u32| match offsets {
                    Offsets::Host(offsets) => offsets[b as usize] as u32,
                    _ => bottom_right as u32,
                };
                self.push_aux(batches.map(known))?
            }
        };
        self.host_at = HostAt {
            lens: matches!(problem.mask.kv_lens, Lengths::Host(_))
                .then_some(params.intervals.lens_at),
            offsets: matches!(problem.mask.q_offset, Offsets::Host(_))
                .then_some(params.intervals.offsets_at),
        };
        params.intervals.prefix_at = self.push_prefixes(&problem.mask, shape)?;
        self.push_sequences(problem, params)
    }

    /// Where the sequences of a ragged batch begin, and a step that finds what follows from it where only the device knows.
    fn push_sequences(&mut self, problem: &Problem, params: &mut Params) -> Result<()> {
        let (queries, keys) = (problem.queries(), problem.keys());
        params.sequences.q_at = self.push_starts(Role::CuSeqlensQ, queries)?;
        params.sequences.k_at = self.push_starts(Role::CuSeqlensK, keys)?;
        if !queries.on_device() && !keys.on_device() {
            return Ok(());
        }
        self.note(
            "cu_seqlens lie on the device; costs are those of sequences as long as they may be"
                .into(),
        );
        let total = |side: Tokens<'_>| side.starts.map_or(NOTHING, CuSeqlens::total);
        let bound_at = self.push_aux([problem.shape.batch])?;
        let params = params.with(|p| {
            p.sequences.q_total = total(queries);
            p.sequences.k_total = total(keys);
            p.bound.at = bound_at;
            if !keys.on_device() {
                p.intervals.lens_at = NOTHING;
            }
            if !problem.offsets_follow_on_device() {
                p.intervals.offsets_at = NOTHING;
            }
        });
        check_iterations(
            self.caps,
            "the sequences of a ragged batch",
            problem.shape.batch,
        )?;
        let bytes = u64::from(problem.shape.batch) * 4;
        self.push_step(Step {
            variant: Sequences.into(),
            bindings: vec![("small", self.nothing())],
            params,
            items: 0,
            grid: [1, 1, 1],
            cost: Cost {
                read_bytes: 2 * bytes,
                written_bytes: 4 * bytes,
                ..Cost::default()
            },
        })
    }

    fn push_starts(&mut self, role: Role, side: Tokens<'_>) -> Result<u32> {
        match side.starts {
            None => Ok(NOTHING),
            Some(CuSeqlens::Host(starts)) => self.push_aux(starts.iter().copied()),
            Some(CuSeqlens::Device { .. }) => self.copy_aux(role, u64::from(side.batch) + 1),
        }
    }

    fn push_prefixes(&mut self, mask: &Mask, shape: &Shape) -> Result<u32> {
        if mask.prefix != Prefix::Device || mask.tree.is_some() {
            return self.push_aux((0..shape.batch).map(|b| mask.prefix_of(b).unwrap_or_default()));
        }
        if mask.causal {
            self.note("prefixes lie on the device; costs are those without a causal mask".into());
        }
        self.copy_aux(Role::Prefix, shape.batch.into())
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

    /// Numbers that either side may hold, among the small operands.
    pub fn push_values(&mut self, role: Role, values: &Values, count: u64) -> Result<u32> {
        match values {
            Values::Host(values) => self.push_aux(values.iter().map(|x| x.to_bits())),
            Values::Device => self.copy_aux(role, count),
        }
    }

    pub(super) fn check_binding(&self, what: &'static str, bytes: u64) -> Result<()> {
        check_binding(self.caps, what, bytes)
    }
}

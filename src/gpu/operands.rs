//! The buffers that a caller binds.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::plan::{Binding, Plan, Slot};
use crate::problem::Role;
use crate::task::Task;

use super::buffers::check_usable;

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
    pub fn rotation(rows: &'a wgpu::Buffer, rotated: &'a wgpu::Buffer) -> Self {
        Self::default()
            .with(Role::Rows, rows)
            .with(Role::Rotated, rotated)
    }

    /// The operands of an [`crate::Embedding`].
    pub fn embedding(table: &'a wgpu::Buffer, embeddings: &'a wgpu::Buffer) -> Self {
        Self::default()
            .with(Role::Table, table)
            .with(Role::Embeddings, embeddings)
    }

    /// The operands of a [`crate::Quantization`].
    pub fn quantization(rows: &'a wgpu::Buffer, stored: &'a wgpu::Buffer) -> Self {
        Self::default()
            .with(Role::Rows, rows)
            .with(Role::Stored, stored)
    }

    /// Adds or replaces one operand.
    pub fn with(mut self, role: Role, buffer: &'a wgpu::Buffer) -> Self {
        self.buffers.insert(role, buffer);
        self
    }

    pub(super) fn get(&self, role: Role) -> Result<&'a wgpu::Buffer> {
        self.buffers
            .get(&role)
            .copied()
            .ok_or(Error::Missing { what: role.name() })
    }

    /// True when an output of `plan` shares its buffer with another operand that the plan binds.
    pub(super) fn outputs_are_shared(&self, plan: &Plan) -> bool {
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
        for (n, a) in needs.iter().enumerate().filter(|(_, a)| a.output) {
            let others = needs.iter().enumerate();
            let others = others.filter(|&(m, b)| if b.output { m > n } else { a.role.is_early() });
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
    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        for &role in self.buffers.keys() {
            plan.check_named(role)?;
        }
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
            check_usable(need.role.name(), buffer)?;
        }
        // All are there by now.
        self.check_append(plan)?;
        self.check_overlap(plan)
    }

    /// A step reads no buffer that it writes: of an append new rows and those of the cache that they go to.
    fn check_append(&self, plan: &Plan) -> Result<()> {
        let Task::KvAppend(_) = &plan.task else {
            return Ok(());
        };
        let operand = |binding: &Binding| match binding.slot {
            Slot::Operand(role) => Some(role),
            _ => None,
        };
        for step in plan.steps() {
            let bound = step.bindings.iter();
            let roles: Vec<_> = bound.filter_map(|(_, x)| operand(x)).collect();
            let written = roles
                .iter()
                .filter(|role| matches!(role, Role::KCache | Role::VCache));
            for &to in written {
                let from = roles
                    .iter()
                    .find(|&&from| from != to && self.get(from).ok() == self.get(to).ok());
                if let Some(from) = from {
                    let (what, other) = (from.name(), to.name());
                    return Err(Error::SharedBuffer { what, other });
                }
            }
        }
        Ok(())
    }
}

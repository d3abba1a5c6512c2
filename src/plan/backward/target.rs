//! Where gradients go, and how they get there.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::Strides;
use crate::plan::builder::{Bound, PlanBuilder};
use crate::plan::operation::merge::pack;
use crate::plan::operation::rotate::BackPass;
use crate::plan::{Binding, OFFSET_ALIGNMENT};
use crate::problem::position::Side;
use crate::problem::{Element, Operand, Role};

use super::{Last, Pass};

/// A gradient: which tensor, and the rows of it that the pass makes.
#[derive(Clone)]
pub(super) struct Tensor {
    pub role: Role,
    /// `None` for what never turns.
    pub side: Option<Side>,
    pub heads: u32,
    pub rows: Range<u32>,
    pub len: u32,
    pub dim: u32,
}

impl Tensor {
    fn bytes(&self, batch: u32) -> u64 {
        u64::from(batch)
            * u64::from(self.heads)
            * u64::from(self.rows.end - self.rows.start)
            * u64::from(self.dim)
            * 4
    }
}

/// Where a kernel writes a gradient: in place, or f32 scratch that is then rotated back or packed.
pub(super) struct Target {
    /// The caller's tensor.
    bound: Bound,
    in_place: bool,
    pub binding: Binding,
    pub rows: Strides,
    /// The buffer that `binding` is a part of.
    pub whole: Binding,
}

impl Target {
    pub fn of(
        builder: &mut PlanBuilder<'_>,
        pass: &Pass<'_>,
        tensor: &Tensor,
        operand: &Operand,
    ) -> Result<Self> {
        let batch = pass.problem().shape.batch;
        let bound = builder.output(
            tensor.role,
            operand,
            [batch, tensor.heads, tensor.len],
            tensor.dim,
        )?;
        let turns = tensor.side.is_some() && pass.problem().position.rotation().is_some();
        if operand.element == Element::F32 && !builder.options.shared_outputs && !turns {
            return Ok(Self {
                bound,
                in_place: true,
                binding: bound.binding,
                rows: bound.rows,
                whole: bound.binding,
            });
        }
        let name = match tensor.role {
            Role::DQ => "scratch for dq",
            Role::DK => "scratch for dk",
            _ => "scratch for dv",
        };
        let binding = builder.scratch(name, tensor.bytes(batch))?;
        let count = tensor.rows.end - tensor.rows.start;
        Ok(Self {
            bound,
            in_place: false,
            binding,
            rows: Strides::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start),
            whole: binding,
        })
    }

    /// dk and dv in one buffer, for the kernel has no binding left for the second.
    pub fn joined(
        builder: &mut PlanBuilder<'_>,
        pass: &Pass<'_>,
        (dk, dk_operand): (&Tensor, &Operand),
        (dv, dv_operand): (&Tensor, &Operand),
    ) -> Result<(Self, Self)> {
        let batch = pass.problem().shape.batch;
        let behind = dk.bytes(batch).next_multiple_of(OFFSET_ALIGNMENT);
        let whole = builder.scratch("scratch for dk and dv", behind + dv.bytes(batch))?;
        let mut place = |tensor: &Tensor, operand: &Operand, offset: u64| -> Result<Self> {
            let sizes = [batch, tensor.heads, tensor.len];
            let bound = builder.output(tensor.role, operand, sizes, tensor.dim)?;
            let count = tensor.rows.end - tensor.rows.start;
            let mut rows = Strides::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start);
            rows.start = rows.start.wrapping_add((offset / 4) as u32);
            Ok(Self {
                bound,
                in_place: false,
                binding: Binding {
                    offset,
                    size: tensor.bytes(batch).max(4),
                    ..whole
                },
                rows,
                whole,
            })
        };
        Ok((place(dk, dk_operand, 0)?, place(dv, dv_operand, behind)?))
    }

    /// Brings the gradient to where it is to be stored.
    pub fn finish<'p>(self, pass: &'p Pass<'_>, tensor: Tensor, operand: &'p Operand) -> Last<'p> {
        Box::new(move |builder| match self.in_place {
            true => Ok(()),
            false => self.bring(builder, pass, &tensor, operand),
        })
    }

    fn bring(
        &self,
        builder: &mut PlanBuilder<'_>,
        pass: &Pass<'_>,
        tensor: &Tensor,
        operand: &Operand,
    ) -> Result<()> {
        let count = tensor.rows.end - tensor.rows.start;
        // Seen from its own binding.
        let rows = Strides::contiguous(tensor.heads, count, tensor.dim, tensor.rows.start);
        let position = &pass.problem().position;
        if let (Some(side), Some(rotary)) = (tensor.side, position.rotation()) {
            let back = BackPass {
                rotary,
                side,
                from: Bound {
                    binding: self.binding,
                    rows,
                },
                heads: tensor.heads,
                rows: tensor.rows.clone(),
                positions: match side {
                    Side::Query => &position.q_positions,
                    Side::Key => &position.k_positions,
                },
            };
            return back.plan(
                builder,
                &pass.params(),
                operand,
                &self.bound,
                tensor.role.name(),
            );
        }
        builder.note(format!(
            "{} is written to scratch, then packed",
            tensor.role
        ));
        let params = pass.params().with(|p| {
            p.sizes.q_heads = tensor.heads;
            p.range.q_begin = tensor.rows.start;
            p.range.q_end = tensor.rows.end;
        });
        pack(
            builder,
            (&params, tensor.dim),
            self.binding,
            &self.bound,
            operand.element,
        )
    }
}

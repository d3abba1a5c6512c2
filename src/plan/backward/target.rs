//! Where gradients go, and how they get there.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{Address, Strides};
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::operation::pack::pack;
use crate::plan::operation::rotate::BackPass;
use crate::plan::parts::{Parts, RowsOf};
use crate::plan::view::{Rows, View, contiguous_bytes};
use crate::plan::{Binding, OFFSET_ALIGNMENT};
use crate::problem::position::Side;
use crate::problem::{Element, Operand, Role};

use super::{Last, Pass};

/// A gradient: which tensor, and the rows of it that the pass makes.
#[derive(Clone)]
pub(super) struct Tensor {
    pub role: Role,
    /// `None` for what never rotates.
    pub side: Option<Side>,
    /// Batches, heads and rows in memory.
    pub sizes: [u32; 3],
    pub rows: Range<u32>,
    pub dim: u32,
    /// Where its rows lie, in scratch too.
    pub address: Address,
}

impl Tensor {
    /// All that the pass makes.
    fn all(&self) -> Rows {
        Rows {
            rows: self.rows.clone(),
            ..Rows::all(self.sizes)
        }
    }

    fn is_ragged(&self) -> bool {
        matches!(self.address, Address::RaggedQueries | Address::RaggedKeys)
    }
}

/// Where a kernel writes a gradient: in place, or f32 scratch that is then rotated back or packed.
pub(super) struct Target {
    /// The caller's tensor.
    output: View,
    in_place: bool,
    /// What the kernel writes, and the rows that are there.
    pub view: View,
    rows: Rows,
}

/// dk and dv in one buffer, of one part of the call.
pub(super) struct Joined {
    pub dk: Target,
    pub dv: Target,
    /// Both, and where each has its rows.
    pub binding: Binding,
    pub strides: [Strides; 2],
}

/// The caller's dk and dv, for whose sums the kernel has one binding.
pub(super) struct JoinedOutputs {
    outputs: [View; 2],
}

impl Target {
    pub fn of(
        builder: &mut PlanBuilder<'_>,
        pass: &Pass<'_>,
        tensor: &Tensor,
        operand: &Operand,
    ) -> Result<Self> {
        let output = output(builder, tensor, operand)?;
        let rows = tensor.all();
        let rotates = tensor.side.is_some() && pass.problem().position.rotation().is_some();
        if operand.element == Element::F32 && !builder.options.shared_outputs && !rotates {
            return Ok(Self {
                output,
                in_place: true,
                view: output,
                rows,
            });
        }
        let name = match tensor.role {
            Role::DQ => "scratch for dq",
            Role::DK => "scratch for dk",
            _ => "scratch for dv",
        };
        Ok(Self {
            output,
            in_place: false,
            view: builder
                .scratch_rows(name, 4, &rows, tensor.dim)
                .at(tensor.address),
            rows,
        })
    }

    /// Cuts a call until no part has a larger window of it than a binding is.
    pub fn fit(&self, what: &'static str, parts: &mut Parts, of: RowsOf) -> Result<()> {
        parts.fit(what, &self.view, of)
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
        let position = &pass.problem().position;
        if let (Some(side), Some(rotary)) = (tensor.side, position.rotation()) {
            let back = BackPass {
                rotary,
                side,
                from: self.view,
                rows: self.rows.clone(),
                positions: match side {
                    Side::Query => &position.q_positions,
                    Side::Key => &position.k_positions,
                },
                sequences: tensor.is_ragged(),
            };
            let to = (operand, &self.output);
            return back.plan(builder, &pass.params(), to, tensor.role.name());
        }
        builder.note(format!(
            "{} is written to scratch, then packed",
            tensor.role
        ));
        let of = (&pass.params(), &self.rows);
        pack(builder, of, &self.view, &self.output, operand.element)
    }
}

impl JoinedOutputs {
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        (dk, dk_operand): (&Tensor, &Operand),
        (dv, dv_operand): (&Tensor, &Operand),
    ) -> Result<Self> {
        Ok(Self {
            outputs: [
                output(builder, dk, dk_operand)?,
                output(builder, dv, dv_operand)?,
            ],
        })
    }

    /// Room for part `n` of at most so many bytes, that with the KV heads and keys `rows`.
    pub fn part(
        &self,
        builder: &mut PlanBuilder<'_>,
        [dk, dv]: [&Tensor; 2],
        rows: &Rows,
        (n, bytes): (u64, u64),
    ) -> Joined {
        const NAME: &str = "scratch for dk and dv";
        let at = n * bytes;
        let behind = at + contiguous_bytes(rows, dk.dim, 4).next_multiple_of(OFFSET_ALIGNMENT);
        let mut place = |at, tensor: &Tensor, output| Target {
            output,
            in_place: false,
            view: builder.scratch_rows_at(NAME, 4, at, rows, tensor.dim),
            rows: rows.clone(),
        };
        let dk = place(at, dk, self.outputs[0]);
        let dv = place(behind, dv, self.outputs[1]);
        let (first, second) = (dk.view.whole(), dv.view.whole());
        let mut dv_rows = second.rows;
        // Seen from where the binding of both begins.
        let before = ((behind - at) / 4) as u32;
        dv_rows.start = dv_rows.start.wrapping_add(before);
        Joined {
            binding: Binding {
                size: behind - at + second.binding.size,
                ..first.binding
            },
            strides: [first.rows, dv_rows],
            dk,
            dv,
        }
    }
}

/// Bytes of dk and dv of so many rows in one buffer.
pub(super) fn joined_bytes(rows: u64, dims: [u32; 2]) -> u64 {
    let [dk, dv] = dims.map(|dim| product([rows, dim.into(), 4]));
    dk.saturating_add(dv).saturating_add(2 * OFFSET_ALIGNMENT) / OFFSET_ALIGNMENT * OFFSET_ALIGNMENT
}

fn output(builder: &mut PlanBuilder<'_>, tensor: &Tensor, operand: &Operand) -> Result<View> {
    let view = builder.output(tensor.role, operand, tensor.sizes, tensor.dim)?;
    Ok(view.at(tensor.address))
}

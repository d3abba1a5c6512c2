//! Merging partial results of the same rows.

use crate::caps::Caps;
use crate::error::Result;
use crate::kernel::{self, NOTHING, Output, Params};
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::parts::{Axis, Lengths, Parts, RowsOf};
use crate::plan::view::{Rows, View};
use crate::plan::{Binding, Cost, Plan, PlanOptions};
use crate::problem::{Element, Layout, Operand, Role};
use crate::task::{Merge, Task};

use super::max_scores::LseScratch;
use super::pack::{pack, pack_into};

pub(in crate::plan) fn plan(merge: &Merge, caps: &Caps, options: &PlanOptions) -> Result<Plan> {
    merge.validate()?;
    let mut builder = PlanBuilder::new(caps, options);
    if merge.rows() > 0 {
        let sizes = [merge.batch, merge.heads, merge.q_len];
        let contiguous = |dim: u32| {
            Operand::new(
                Element::F32,
                Layout::heads_first(merge.heads, merge.q_len, dim),
            )
        };
        let o = builder.output(Role::O, &merge.o, sizes, merge.value_dim)?;
        let lse = builder.output(Role::Lse, &merge.lse_operand(), sizes, 1)?;
        let parts = [merge.parts * merge.batch, merge.heads, merge.q_len];
        let mut source = |role, dim| -> Result<Binding> {
            let view = builder.input(role, &contiguous(dim), parts, dim)?;
            Ok(view.whole().binding)
        };
        let partials = match merge.parts {
            0 => None,
            _ => Some((
                source(Role::PartialO, merge.value_dim)?,
                source(Role::PartialLse, 1)?,
            )),
        };
        let sinks_at = match &merge.sinks {
            Some(sinks) => builder.push_values(Role::Sinks, sinks, merge.heads.into())?,
            None => NOTHING,
        };
        let params = Params::default().with(|p| {
            p.sizes.batch = merge.batch;
            p.sizes.q_heads = merge.heads;
            p.sizes.q_len = merge.q_len;
            p.range.q_end = merge.q_len;
            p.sizes.value_dim = merge.value_dim;
            p.sinks.at = sinks_at;
        });
        let target = Target {
            operand: merge.o,
            o,
            lse,
            max_scores: None,
        };
        let of = (&params, &Rows::of(&params));
        merge_partials(&mut builder, of, merge.parts, partials, &target)?;
    }
    Ok(builder.finish(Task::Merge(merge.clone())))
}

/// Where a result is to be stored.
#[derive(Clone, Copy)]
pub(in crate::plan) struct Target {
    pub operand: Operand,
    pub o: View,
    pub lse: View,
    /// Of all rows of the call, in scratch.
    pub max_scores: Option<View>,
}

impl Target {
    /// Cuts a call until no part has larger windows of the results than a binding is, nor of what stands in for them.
    pub fn fit(&self, builder: &PlanBuilder<'_>, parts: &mut Parts) -> Result<()> {
        parts.fit(Role::O.name(), &self.o, RowsOf::Queries)?;
        parts.fit(Role::Lse.name(), &self.lse, RowsOf::Queries)?;
        if let Some(largest) = &self.max_scores {
            parts.fit("scratch for the largest scores", largest, RowsOf::Queries)?;
            LseScratch::fit(parts)?;
        }
        let dim = self.o.dim();
        if builder.writes_in_place(&self.operand, dim) {
            return Ok(());
        }
        let ragged = self.o.ragged_rows();
        let rows = |n: &Lengths| match ragged {
            Some(rows) => u64::from(n.heads) * u64::from(rows),
            None => n.rows(),
        };
        let bytes = |n: &Lengths| product([rows(n), dim.into(), 4]);
        let all = bytes(&parts.lengths());
        let axes: &[Axis] = match ragged {
            Some(_) => &[Axis::Heads],
            None => &[Axis::Queries, Axis::Batches, Axis::Heads],
        };
        parts.fit_by("scratch for o", (all, bytes), axes)
    }
}

/// Results in scratch, while the operands that lie where they are to go are still read.
pub(in crate::plan) struct Deferred {
    params: Params,
    rows: Rows,
    pub target: Target,
}

impl Deferred {
    /// Room for these rows, which go to `end` at last.
    pub fn new(builder: &mut PlanBuilder<'_>, params: Params, rows: Rows, end: &Target) -> Self {
        let dim = params.sizes.value_dim;
        let sizes = rows.sizes();
        let target = Target {
            operand: Operand::new(Element::F32, Layout::heads_first(sizes[1], sizes[2], dim)),
            o: builder.scratch_rows("scratch for all of o", 4, &rows, dim),
            lse: builder.scratch_rows("scratch for all of lse", 4, &rows, 1),
            max_scores: end.max_scores,
        };
        Self {
            params,
            rows,
            target,
        }
    }

    /// Moves them to the caller's tensors.
    pub fn bring(self, builder: &mut PlanBuilder<'_>, target: &Target) -> Result<()> {
        let Target { o, lse, .. } = self.target;
        let of = (&self.params, &self.rows);
        pack(builder, of, &o, &target.o, target.operand.element)?;
        pack(builder, of, &lse, &target.lse, Element::F32)
    }
}

/// Merges `parts` contiguous partials (none make the result of fully masked rows) into the target's o and lse, in one step.
pub(in crate::plan) fn merge_partials(
    builder: &mut PlanBuilder<'_>,
    (params, of): (&Params, &Rows),
    parts: u32,
    partials: Option<(Binding, Binding)>,
    target: &Target,
) -> Result<()> {
    let (dim, rows) = (params.sizes.value_dim, of.count());
    let (o_bytes, lse_bytes) = (product([rows, dim.into(), 4]), rows * 4);
    let mut params = of.renumber(params);
    params.bound.at = builder.push_per_batch(&params, parts)?;
    params.partial.lse = rows as u32;
    params.partial.o = (rows * u64::from(dim)) as u32;
    let target = &Target {
        max_scores: None,
        ..*target
    };
    let (from_o, from_lse) = partials.unwrap_or((builder.nothing(), builder.nothing()));
    into_target(
        builder,
        (&params, of),
        target,
        |builder, params, o, lse, output| {
            let params = params.with(|p| {
                p.o = of.renumber_strides(p.o);
                p.lse = of.renumber_strides(p.lse);
            });
            let bindings = vec![
                ("partial_o", from_o),
                ("partial_lse", from_lse),
                ("o", o),
                ("lse", lse),
            ];
            let items = rows * u64::from(dim.div_ceil(4));
            let cost = Cost {
                read_bytes: u64::from(parts) * (o_bytes + lse_bytes),
                written_bytes: rows * (output.element.bytes(dim.into()) + 4),
                flops: u64::from(parts) * o_bytes / 2,
                ..Cost::default()
            };
            builder.item_steps(kernel::Merge { output }, params, bindings, items, cost)
        },
    )
}

/// Lets `steps` write o and lse of these rows: in place where that is possible, else into scratch, from where pack steps
/// bring them to the target. Largest scores lie behind lse.
pub(in crate::plan) fn into_target(
    builder: &mut PlanBuilder<'_>,
    (params, rows): (&Params, &Rows),
    target: &Target,
    steps: impl FnOnce(&mut PlanBuilder<'_>, Params, Binding, Binding, Output) -> Result<()>,
) -> Result<()> {
    let limit = builder.binding_limit();
    pack_into(
        builder,
        (params, rows),
        (&target.operand, &target.o),
        "o",
        |builder, o, output| {
            let o = o.rows(limit, rows);
            if !builder.options.shared_outputs && target.max_scores.is_none() {
                let to = target.lse.rows(limit, rows);
                let params = params.with(|p| (p.o, p.lse) = (o.rows, to.rows));
                return steps(builder, params, o.binding, to.binding, output);
            }
            let lse = builder.scratch_rows("scratch for lse", 4, rows, 1);
            let mut to = lse.rows(limit, rows);
            let mut largest = None;
            if target.max_scores.is_some() {
                let scratch = LseScratch::new(builder, "scratch for lse", rows.count(), true)?;
                to.binding = scratch.whole;
                largest = Some(scratch);
            }
            let params = params.with(|p| {
                (p.o, p.lse) = (o.rows, to.rows);
                p.max_score.at = largest.map_or(0, |largest| largest.at);
            });
            steps(builder, params, o.binding, to.binding, output)?;
            pack(builder, (&params, rows), &lse, &target.lse, Element::F32)?;
            match largest {
                Some(largest) => largest.join(builder, (&params, rows), 1, target),
                None => Ok(()),
            }
        },
    )
}

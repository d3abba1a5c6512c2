//! Merging partial results of the same rows, and bringing contiguous f32 rows to where they are to be stored.

use crate::caps::Caps;
use crate::error::Result;
use crate::kernel::{Combine, NOTHING, Output, Pack, PackRows, Params, Strides};
use crate::plan::builder::{Bound, PlanBuilder};
use crate::plan::{Binding, Cost, Plan, PlanOptions};
use crate::problem::{Element, Layout, Operand, Role};
use crate::task::{Merge, Task};

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
            Ok(builder.input(role, &contiguous(dim), parts, dim)?.binding)
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
        };
        combine(&mut builder, params, merge.parts, partials, &target)?;
    }
    Ok(builder.finish(Task::Merge(merge.clone())))
}

/// Where a result is to be stored.
pub(in crate::plan) struct Target {
    pub operand: Operand,
    pub o: Bound,
    pub lse: Bound,
}

/// Results in scratch, while the operands that lie where they are to go are still read.
pub(in crate::plan) struct Deferred {
    params: Params,
    pub target: Target,
}

impl Deferred {
    /// Room for the rows of `params`.
    pub fn new(builder: &mut PlanBuilder<'_>, params: Params) -> Result<Self> {
        let (heads, dim) = (params.sizes.q_heads, params.sizes.value_dim);
        let count = params.range.q_end - params.range.q_begin;
        let (o_bytes, lse_bytes) = slice_bytes(&params);
        let o = builder.scratch("scratch for all of o", o_bytes)?;
        let lse = builder.scratch("scratch for all of lse", lse_bytes)?;
        let bound = |binding, dim| Bound {
            binding,
            rows: Strides::contiguous(heads, count, dim, params.range.q_begin),
        };
        let target = Target {
            operand: Operand::new(Element::F32, Layout::heads_first(heads, count, dim)),
            o: bound(o, dim),
            lse: bound(lse, 1),
        };
        Ok(Self { params, target })
    }

    /// Moves them to the caller's tensors.
    pub fn bring(self, builder: &mut PlanBuilder<'_>, target: &Target) -> Result<()> {
        let Target { o, lse, .. } = self.target;
        let dim = self.params.sizes.value_dim;
        pack(
            builder,
            (&self.params, dim),
            o.binding,
            &target.o,
            target.operand.element,
        )?;
        pack(
            builder,
            (&self.params, 1),
            lse.binding,
            &target.lse,
            Element::F32,
        )
    }
}

/// The bytes of a slice's rows, o and lse, as contiguous f32.
fn slice_bytes(params: &Params) -> (u64, u64) {
    let rows = slice_rows(params);
    (rows * u64::from(params.sizes.value_dim) * 4, rows * 4)
}

fn slice_rows(params: &Params) -> u64 {
    u64::from(params.sizes.batch)
        * u64::from(params.sizes.q_heads)
        * u64::from(params.range.q_end - params.range.q_begin)
}

/// Merges `parts` contiguous partials (none make the result of fully masked rows) into the target.
pub(in crate::plan) fn combine(
    builder: &mut PlanBuilder<'_>,
    mut params: Params,
    parts: u32,
    partials: Option<(Binding, Binding)>,
    target: &Target,
) -> Result<()> {
    let (o_bytes, lse_bytes) = slice_bytes(&params);
    let rows = slice_rows(&params);
    params.bound.at = builder.push_per_batch(&params, parts)?;
    params.partial.lse = rows as u32;
    params.partial.o = (rows * u64::from(params.sizes.value_dim)) as u32;
    let (from_o, from_lse) = partials.unwrap_or((builder.nothing(), builder.nothing()));
    into_target(
        builder,
        params,
        target,
        |builder, params, o, lse, output| {
            let bindings = vec![
                ("partial_o", from_o),
                ("partial_lse", from_lse),
                ("o", o),
                ("lse", lse),
            ];
            let items = rows * u64::from(params.sizes.value_dim.div_ceil(4));
            let cost = Cost {
                read_bytes: u64::from(parts) * (o_bytes + lse_bytes),
                written_bytes: rows
                    * (u64::from(params.sizes.value_dim) * output.element.size() + 4),
                flops: u64::from(parts) * o_bytes / 2,
                ..Cost::default()
            };
            builder.item_steps(Combine { output }, params, bindings, items, cost)
        },
    )
}

/// Lets `steps` write o and lse: in place where that is possible, else into scratch, from where pack steps bring
/// them to the target.
pub(in crate::plan) fn into_target(
    builder: &mut PlanBuilder<'_>,
    params: Params,
    target: &Target,
    steps: impl FnOnce(&mut PlanBuilder<'_>, Params, Binding, Binding, Output) -> Result<()>,
) -> Result<()> {
    pack_into(
        builder,
        (&params, params.sizes.value_dim),
        &target.operand,
        &target.o,
        "o",
        |builder, o, output| {
            let mut params = params.with(|p| {
                p.o = o.rows;
                p.lse = target.lse.rows;
            });
            if !builder.options.shared_outputs {
                return steps(builder, params, o.binding, target.lse.binding, output);
            }
            let (_, bytes) = slice_bytes(&params);
            let lse = builder.scratch("scratch for lse", bytes)?;
            params.lse = Strides::contiguous(
                params.sizes.q_heads,
                params.range.q_end - params.range.q_begin,
                1,
                params.range.q_begin,
            );
            steps(builder, params, o.binding, lse, output)?;
            pack(builder, (&params, 1), lse, &target.lse, Element::F32)
        },
    )
}

/// Lets `steps` write rows of `dim` channels: in place, or into scratch that is then packed.
pub(in crate::plan) fn pack_into(
    builder: &mut PlanBuilder<'_>,
    (params, dim): (&Params, u32),
    operand: &Operand,
    target: &Bound,
    what: &'static str,
    steps: impl FnOnce(&mut PlanBuilder<'_>, &Bound, Output) -> Result<()>,
) -> Result<()> {
    if builder.writes_in_place(operand, dim) {
        return steps(builder, target, Output::of(operand, dim));
    }
    builder.note(if builder.options.shared_outputs {
        format!("{what} shares a buffer with another operand: written to scratch, then packed")
    } else {
        format!(
            "rows of {what} ({}) share words: written to scratch, then packed",
            operand.element
        )
    });
    let bytes = slice_rows(params) * u64::from(dim) * 4;
    let binding = builder.scratch("scratch for an output", bytes)?;
    let (heads, begin) = (params.sizes.q_heads, params.range.q_begin);
    let rows = Strides::contiguous(heads, params.rows(), dim, begin);
    steps(builder, &Bound { binding, rows }, Output::scratch(dim))?;
    pack(builder, (params, dim), binding, target, operand.element)
}

/// Moves contiguous f32 rows of `dim` channels to a tensor of any layout and element.
pub(in crate::plan) fn pack(
    builder: &mut PlanBuilder<'_>,
    (params, dim): (&Params, u32),
    from: Binding,
    to: &Bound,
    output: Element,
) -> Result<()> {
    let key = Pack {
        output,
        rows: PackRows::InOrder,
    };
    pack_words(builder, (params, dim), key, from, to)
}

/// A step whose invocations each own a word of the tensor `to`, whatever rows share it.
pub(in crate::plan) fn pack_words(
    builder: &mut PlanBuilder<'_>,
    (params, dim): (&Params, u32),
    key: Pack,
    from: Binding,
    to: &Bound,
) -> Result<()> {
    let rows = params.rows();
    let mut o = to.rows;
    o.start = o
        .start
        .wrapping_add(params.range.q_begin.wrapping_mul(o.row));
    let axes = [
        (params.sizes.batch, o.batch),
        (params.sizes.q_heads, o.head),
        (rows, o.row),
    ];
    let mut order = [0u32, 1, 2];
    order.sort_by_key(|&n| std::cmp::Reverse(axes[n as usize].1));
    let last: u64 = axes
        .iter()
        .map(|&(size, stride)| u64::from(size.saturating_sub(1)) * u64::from(stride))
        .sum::<u64>()
        + u64::from(dim);
    let (start, per_word) = (u64::from(o.start), key.output.per_word());
    let words = (start + last).div_ceil(per_word) - start / per_word;
    let params = params.with(|p| {
        p.y = o;
        p.packing.order = order[0] | order[1] << 2 | order[2] << 4;
        p.packing.dim = dim;
    });
    let bindings = vec![("source", from), ("o", to.binding)];
    let cost = Cost {
        read_bytes: from.size,
        written_bytes: words * 4,
        ..Cost::default()
    };
    builder.item_steps(key, params, bindings, words, cost)
}

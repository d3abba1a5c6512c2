//! Bringing contiguous f32 rows to where they are to be stored, in any layout and element.

use crate::error::Result;
use crate::kernel::{Output, Pack, PackRows, Params};
use crate::plan::builder::PlanBuilder;
use crate::plan::parts::{Axis, Lengths, Parts};
use crate::plan::view::{Bound, Rows, View};
use crate::plan::{Binding, Cost};
use crate::problem::{Element, Operand};

/// Lets `steps` write rows: in place, or into scratch that is then packed.
pub(in crate::plan) fn pack_into(
    builder: &mut PlanBuilder<'_>,
    (params, rows): (&Params, &Rows),
    (operand, target): (&Operand, &View),
    what: &'static str,
    steps: impl FnOnce(&mut PlanBuilder<'_>, &View, Output) -> Result<()>,
) -> Result<()> {
    let dim = target.dim();
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
    let scratch = builder.scratch_rows("scratch for an output", 4, rows, dim);
    steps(builder, &scratch, Output::scratch(dim))?;
    pack(builder, (params, rows), &scratch, target, operand.element)
}

/// Moves contiguous f32 rows, all that `from` holds, to a tensor of any layout and element.
pub(in crate::plan) fn pack(
    builder: &mut PlanBuilder<'_>,
    (params, rows): (&Params, &Rows),
    from: &View,
    to: &View,
    output: Element,
) -> Result<()> {
    let (limit, dim) = (builder.binding_limit(), to.dim());
    // From the outermost axis inwards: a part's rows lie without gaps, too.
    let axes = [Axis::Batches, Axis::Heads, Axis::Queries];
    let mut parts = Parts::of_rows(builder, rows);
    for view in [from, to] {
        let span = |n: &Lengths| view.span(limit, [n.batches, n.heads, n.q], dim);
        parts.fit_by("a packed tensor", (view.bytes(), span), &axes)?;
    }
    parts.settle(builder)?;
    let key = Pack {
        output,
        rows: PackRows::InOrder,
    };
    for rows in parts.rows() {
        let (source, mut target) = (from.rows(limit, &rows), to.rows(limit, &rows));
        let first = rows.renumber_strides(source.rows);
        target.rows = rows.renumber_strides(target.rows);
        let params = rows.renumber(params).with(|p| {
            let before = rows.rows.start.wrapping_mul(first.row);
            p.packing.start = first.start.wrapping_add(before);
        });
        pack_words(builder, (&params, dim), key, source.binding, &target)?;
    }
    Ok(())
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

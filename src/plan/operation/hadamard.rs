//! Rows rotated by a Walsh–Hadamard matrix: q before attention, o after it.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{Hadamard, Input, Output, Params};
use crate::plan::Cost;
use crate::plan::builder::PlanBuilder;
use crate::plan::limits::product;
use crate::plan::parts::{Parts, RowsOf};
use crate::plan::source::Source;
use crate::plan::view::{Rows, View};
use crate::problem::{Element, Operand, Problem, hadamard_block};

use super::merge::Target;
use super::pack::pack_into;

/// q's rows of a call, rotated into contiguous f32 scratch.
pub(in crate::plan) fn rotate_queries(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &Params,
    (q, rows): (&mut Source, Range<u32>),
) -> Result<()> {
    let dim = problem.shape.head_dim;
    builder.note(format!(
        "k holds rows rotated by Hadamard matrices of {}: q is rotated alike in a pass before",
        hadamard_block(dim)
    ));
    let params = params.with(|p| (p.range.q_begin, p.range.q_end) = (rows.start, rows.end));
    let from = (&q.operand, &q.view);
    let (operand, view) = rotated(builder, &params, from, dim, "scratch for q after Hadamard")?;
    (q.operand, q.view) = (operand, view);
    Ok(())
}

/// New rows of a cache, all of them, rotated into scratch.
pub(super) fn new_rows(
    builder: &mut PlanBuilder<'_>,
    params: &Params,
    (operand, view): &(Operand, View),
    dim: u32,
) -> Result<(Operand, View)> {
    let params = params.with(|p| (p.range.q_begin, p.range.q_end) = (0, p.sizes.q_len));
    let name = "scratch for rows after Hadamard";
    rotated(builder, &params, (operand, view), dim, name)
}

/// The rows of a step, rotated into contiguous f32 scratch.
fn rotated(
    builder: &mut PlanBuilder<'_>,
    params: &Params,
    (operand, from): (&Operand, &View),
    dim: u32,
    name: &'static str,
) -> Result<(Operand, View)> {
    let rows = Rows::of(params);
    let to = builder.scratch_rows(name, 4, &rows, dim);
    let of = (params, &rows);
    steps(
        builder,
        of,
        (operand, from),
        &to,
        (dim, Output::scratch(dim)),
    )?;
    Ok((scratch_operand(&rows, dim), to))
}

/// Contiguous f32 rows.
fn scratch_operand(rows: &Rows, dim: u32) -> Operand {
    let [_, heads, count] = rows.sizes();
    Operand::heads_first(Element::F32, heads, count, dim)
}

/// Rotates o back from scratch, where `attention` leaves it, to where it is to be stored.
pub(in crate::plan) fn rotate_back(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: Params,
    target: &Target,
    attention: impl FnOnce(&mut PlanBuilder<'_>, &Target) -> Result<()>,
) -> Result<()> {
    let dim = problem.shape.value_dim;
    builder.note(format!(
        "v holds rows rotated by Hadamard matrices of {}: o is rotated back in a pass after",
        hadamard_block(dim)
    ));
    let rows = Rows::of(&params);
    let before = Target {
        operand: scratch_operand(&rows, dim),
        o: builder.scratch_rows("scratch for o before Hadamard", 4, &rows, dim),
        lse: target.lse,
        max_scores: target.max_scores,
    };
    attention(builder, &before)?;
    let of = (&params, &rows);
    let to = (&target.operand, &target.o);
    pack_into(builder, of, to, "o", |builder, to, output| {
        let from = (&before.operand, &before.o);
        steps(builder, of, from, to, (dim, output))
    })
}

/// The steps of these rows: as many as the bindings of two tensors call for.
fn steps(
    builder: &mut PlanBuilder<'_>,
    (params, rows): (&Params, &Rows),
    (operand, from): (&Operand, &View),
    to: &View,
    (dim, output): (u32, Output),
) -> Result<()> {
    let mut parts = Parts::of_rows(builder, rows);
    parts.fit("a Hadamard rotation's input", from, RowsOf::Queries)?;
    parts.fit("a Hadamard rotation's output", to, RowsOf::Queries)?;
    parts.settle(builder)?;
    let (limit, block) = (builder.binding_limit(), hadamard_block(dim));
    let input = Input::of(&[operand], &[dim]);
    for rows in parts.rows() {
        let (from, to) = (from.rows(limit, &rows), to.rows(limit, &rows));
        let params = rows.renumber(params).with(|p| {
            p.x = rows.renumber_strides(from.rows);
            p.y = rows.renumber_strides(to.rows);
            p.sizes.head_dim = dim;
            p.hadamard.chunks = (block / 4).max(1);
            p.hadamard.fours = (block > 2).into();
            p.hadamard.factor = 1.0 / (block as f32).sqrt();
        });
        let count = rows.count();
        let cost = Cost {
            read_bytes: product([count, operand.row_bytes(dim)]),
            written_bytes: output.element.bytes(product([count, dim.into()])),
            flops: product([count, dim.into(), (block / 4 + 2).into()]),
            ..Cost::default()
        };
        let bindings = vec![("x", from.binding), ("o", to.binding)];
        let items = product([count, dim.div_ceil(4).into()]);
        builder.item_steps(Hadamard { input, output }, params, bindings, items, cost)?;
    }
    Ok(())
}

//! The inputs of an attention kernel, forward or backward: the caller's tensors, or their rows rotated into scratch.

use crate::error::Result;
use crate::kernel::{Address, Params};
use crate::plan::builder::PlanBuilder;
use crate::plan::operation::rotate::Pass;
use crate::plan::source::Source;
use crate::problem::position::Side;
use crate::problem::{Operand, Positions, Problem, Role, Slice};

use super::lookup::{address, addresses};

pub(in crate::plan) fn bind_inputs(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
) -> Result<[Source; 3]> {
    let shape = &problem.shape;
    let (q, kv) = (problem.q_sizes(), problem.kv_sizes());
    let mut bind = |role, operand: Operand, sizes, dim, address| -> Result<Source> {
        Ok(Source {
            operand,
            view: builder.input(role, &operand, sizes, dim)?.at(address),
            address,
        })
    };
    let (q_address, kv_address) = addresses(problem);
    Ok([
        bind(Role::Q, problem.q, q, shape.head_dim, q_address)?,
        bind(Role::K, problem.k, kv, shape.head_dim, kv_address)?,
        bind(Role::V, problem.v, kv, shape.value_dim, kv_address)?,
    ])
}

/// Lets a pass rotate q and k into scratch, and the kernel read them there.
pub(in crate::plan) fn rotate_inputs(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &Params,
    q: &mut Source,
    k: &mut Source,
) -> Result<()> {
    let position = &problem.position;
    let looked_at = rows_looked_at(problem);
    let Some(rotary) = position.rotation() else {
        return Ok(());
    };
    // Rows that are given have one per token, as positions have.
    let q_positions = match position.rows_given {
        true => &Positions::Device,
        false => &position.q_positions,
    };
    let sides = [
        (
            (Side::Query, Address::Strided),
            q,
            (problem.queries(), problem.q_sizes()),
            looked_at.q,
            q_positions,
        ),
        (
            (Side::Key, address(problem.kv_address)),
            k,
            (problem.keys(), problem.kv_sizes()),
            looked_at.k,
            &position.k_positions,
        ),
    ];
    for ((side, from), source, (tokens, sizes), rows, positions) in sides {
        if position.rotates(side) {
            let params = params.of_rows(tokens.is_ragged(), sizes);
            let pass = Pass {
                rotary,
                side,
                source: source.view,
                operand: &source.operand,
                from,
                heads: sizes[1],
                rows: tokens.rows_of(rows),
                positions,
                sequences: tokens.is_ragged(),
            };
            let address = source.address;
            *source = pass.plan(builder, &params)?;
            if tokens.is_ragged() {
                *source = source.at(address);
            }
        }
    }
    Ok(())
}

/// Gradients read q and k in one type, and rotated q is f32: keys that were rotated before are made f32, too, by a pass
/// that rotates no channel.
pub(in crate::plan) fn widen_keys(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &Params,
    q: &Source,
    k: &mut Source,
) -> Result<()> {
    let Some(rotary) = problem.position.rotation() else {
        return Ok(());
    };
    if q.operand.element == k.operand.element {
        return Ok(());
    }
    builder.note("k's rows are widened to f32, as rotated q is".into());
    let pass = Pass {
        rotary,
        side: Side::Key,
        source: k.view,
        operand: &k.operand,
        from: match problem.keys().is_ragged() {
            true => Address::Strided,
            false => k.address,
        },
        heads: problem.shape.kv_heads,
        rows: problem.keys().rows_of(rows_looked_at(problem).k),
        positions: &problem.position.k_positions,
        sequences: problem.keys().is_ragged(),
    };
    let params = params.of_rows(problem.keys().is_ragged(), problem.kv_sizes());
    let address = k.address;
    *k = pass.plan(builder, &params.with(|p| p.rotation.dim = 0))?;
    if problem.keys().is_ragged() {
        *k = k.at(address);
    }
    Ok(())
}

/// The rows of q and k that a call looks at: those of its slice, and where blocks are chosen all that take part in the
/// choice.
pub(super) fn rows_looked_at(problem: &Problem) -> Slice {
    let (shape, slice) = (&problem.shape, problem.slice());
    match problem.mask.selected_blocks() {
        None => slice,
        Some(select) => {
            let blocks = select.blocks_of(&slice.q);
            let end = (blocks.end * select.side).min(shape.q_len);
            Slice {
                q: blocks.start * select.side..end,
                k: 0..shape.kv_len,
            }
        }
    }
}

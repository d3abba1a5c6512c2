//! Lays out the table of cosines and sines that rows are rotated by, and tells each token its row.

use crate::error::{Error, Result};
use crate::kernel::Params;
use crate::plan::builder::PlanBuilder;
use crate::plan::{TableNeed, TableRows};
use crate::problem::position::{Rotary, Side, check_range};
use crate::problem::{Element, Layout, Operand, Positions, Problem, Role, Tokens, tokens};

/// States the table and what the shader must know of it.
pub(super) fn bind_table(
    builder: &mut PlanBuilder<'_>,
    params: &mut Params,
    rotary: &Rotary,
    rows: TableRows,
    length: u32,
) -> Result<()> {
    let stride = state_table(params, rotary, rows.start(), rows.len() as u32);
    if let TableRows::Range(range) = &rows {
        check_range(rotary, range)?;
    }
    let size = (rows.len() * u64::from(stride) * 8).next_multiple_of(16);
    builder.check_binding("the rotary table", size)?;
    builder.table = Some(TableNeed {
        rotary: rotary.clone(),
        rows,
        length,
    });
    Ok(())
}

/// What a shader must know of a table; answers the pairs of a row.
fn state_table(params: &mut Params, rotary: &Rotary, start: i32, rows: u32) -> u32 {
    let (pairs, split) = (rotary.pairs(), rotary.xpos.is_some());
    params.rotation.stride = if split { 2 * pairs } else { pairs };
    params.rotation.key_at = if split { pairs } else { 0 };
    params.rotation.start = start;
    params.rotation.rows = rows;
    params.rotation.first = rotary.start;
    params.rotation.dim = rotary.dim;
    params.rotation.sine = 1.0;
    params.rotation.stride
}

/// The caller's rows in place of a table: one per token of `[batch, len]`.
pub(super) fn bind_given_rows(
    builder: &mut PlanBuilder<'_>,
    params: &mut Params,
    rotary: &Rotary,
    [batch, len]: [u32; 2],
) -> Result<()> {
    let rows = tokens(batch, len);
    if rows > u64::from(u32::MAX) {
        return Err(Error::Extent {
            what: Role::Rotations.name(),
            end: Some(rows),
        });
    }
    let rows = rows as u32;
    let stride = state_table(params, rotary, 0, rows);
    let operand = Operand::new(Element::F32, Layout::heads_first(1, rows, 2 * stride));
    builder.input(Role::Rotations, &operand, [1, 1, rows], 2 * stride)?;
    builder.rows_given = true;
    params.rotation.q_at = builder.push_aux(0..rows)?;
    Ok(())
}

/// Lays out the rotary table of an attention call and each token's row in it.
pub(in crate::plan) fn plan_table(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    rotary: &Rotary,
    params: &mut Params,
) -> Result<()> {
    let position = &problem.position;
    if position.rows_given {
        return bind_given_rows(builder, params, rotary, problem.queries().rows());
    }
    let known = position.known_range(&problem.shape, &problem.mask);
    let range = position.range.clone().or(known).ok_or(Error::Unstated)?;
    let length = position.length(&range);
    rotary
        .scale_hint(problem.scale())
        .into_iter()
        .for_each(|hint| builder.note(hint));
    let k_positions = match position.rotates(Side::Key) {
        true => &position.k_positions,
        false => &Positions::Index,
    };
    let rows = match &position.range {
        Some(range) => TableRows::Range(range.clone()),
        None => TableRows::new(rotary, range, &[&position.q_positions, k_positions]),
    };
    let mut push = |role, positions: &Positions, side: Tokens<'_>, known: u32| match positions {
        Positions::Index => Ok(0),
        Positions::Host(p) => builder.push_aux(rows.words(p)),
        Positions::Device if known > 0 => Ok(known),
        Positions::Device => builder.copy_aux(role, side.count()),
    };
    let (q_at, k_at) = (params.positions.q_at, params.positions.k_at);
    params.rotation.q_at = push(
        Role::QPositions,
        &position.q_positions,
        problem.queries(),
        q_at,
    )?;
    params.rotation.k_at = push(Role::KPositions, k_positions, problem.keys(), k_at)?;
    bind_table(builder, params, rotary, rows, length)
}

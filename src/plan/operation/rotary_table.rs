//! The cosines and sines that rows are rotated by: which positions have a row, and where each token finds its own.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::kernel::Params;
use crate::plan::builder::PlanBuilder;
use crate::problem::position::{Rotary, Side, check_range};
use crate::problem::{Element, Layout, Operand, Positions, Problem, Role, Tokens, tokens};

/// The cosines and sines that a plan's steps read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TableNeed {
    /// The scheme.
    pub rotary: Rotary,
    /// The positions that it has rows for.
    pub rows: TableRows,
    /// The context length for kinds that depend on it.
    pub length: u32,
}

/// Which positions a table has rows for.
#[derive(Clone, Debug, PartialEq)]
pub enum TableRows {
    /// Every position of the range.
    Range(RangeInclusive<i32>),
    /// Ascending; where positions are few and far between.
    List(Vec<i32>),
}

impl TableRows {
    pub(super) fn new(
        rotary: &Rotary,
        range: RangeInclusive<i32>,
        positions: &[&Positions],
    ) -> Self {
        let span = i64::from(*range.end()) - i64::from(*range.start()) + 1;
        let count: usize = positions
            .iter()
            .map(|p| {
                if let Positions::Host(p) = p {
                    p.len()
                } else {
                    0
                }
            })
            .sum();
        let all_host = positions.iter().all(|p| matches!(p, Positions::Host(_)));
        if all_host && span > SPARSE_SPAN.max(2 * count as i64) {
            let mut list: Vec<i32> = positions
                .iter()
                .flat_map(|p| {
                    if let Positions::Host(p) = p {
                        p.as_slice()
                    } else {
                        &[]
                    }
                })
                .copied()
                .collect();
            list.sort_unstable();
            list.dedup();
            return Self::List(list);
        }
        // A context that begins near 0 and grows keeps its table; xPos may not reach 0 from its centre.
        let near = rotary.xpos.is_none()
            && *range.start() >= 0
            && i64::from(*range.start()) <= span.max(SPARSE_SPAN);
        Self::Range(if near { 0..=*range.end() } else { range })
    }

    fn start(&self) -> i32 {
        match self {
            Self::Range(range) => *range.start(),
            Self::List(_) => 0,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Range(range) => (i64::from(*range.end()) - i64::from(*range.start()) + 1) as u64,
            Self::List(list) => list.len() as u64,
        }
    }

    /// The words that tell the shader each token's row.
    pub(super) fn words(&self, positions: &[i32]) -> Vec<u32> {
        let word = |p: &i32| match self {
            Self::Range(_) => *p as u32,
            Self::List(list) => list.partition_point(|x| x < p) as u32,
        };
        positions.iter().map(word).collect()
    }
}

/// Positions a table holds without asking whether all are used.
const SPARSE_SPAN: i64 = 1 << 16;

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

//! The rotary table that a plan needs, as data: which positions have a row, and where a position finds its own.

use std::ops::RangeInclusive;

use crate::problem::Positions;
use crate::problem::position::Rotary;

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

    pub(super) fn start(&self) -> i32 {
        match self {
            Self::Range(range) => *range.start(),
            Self::List(_) => 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
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

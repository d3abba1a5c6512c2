//! The rules that static patterns are unions of, about a pair and about a whole block.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::problem::block_mask::BlockGrid;

/// A rule about pairs of a query that stands at `d` and a key `j`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    All,
    /// `d − left ≤ j ≤ d + right`, every `dilation`-th key counted from d.
    Window {
        left: u32,
        right: u32,
        dilation: u32,
    },
    /// `d − j` is a multiple of this.
    Stride(u32),
    /// Keys and queries of the same stretch of this many.
    SameStretch(u32),
    /// The last `summary` keys of each stretch.
    Summary {
        stretch: u32,
        summary: u32,
    },
    /// Keys before this one.
    First(u32),
    Columns(BTreeSet<u32>),
    /// Queries that stand there.
    Rows(BTreeSet<u32>),
    /// Distances `d − j`.
    Diagonals(BTreeSet<u32>),
    /// Blocks at most this many from the one that the query stands in.
    BlockWindow(u32),
    /// The first blocks of keys and of queries.
    GlobalBlocks(u32),
    /// So many more blocks per list, drawn by seed.
    RandomBlocks {
        count: u32,
        seed: u64,
    },
    /// Documents of queries and of keys.
    Documents {
        q: Vec<i32>,
        k: Vec<i32>,
    },
}

/// How much of a block a pattern shows, as far as can be told without asking for each pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::problem::block_mask) enum Cover {
    None,
    Some,
    All,
}

/// The pairs of a block: first and last standing place, key and distance `j − d`.
pub(super) struct Span {
    i: [u32; 2],
    j: [u32; 2],
    d: [i64; 2],
}

impl Span {
    pub fn new(grid: &BlockGrid, offset: i64, bi: u32, bj: u32) -> Self {
        let (rows, columns) = grid.live(bi, bj);
        let (i0, j0) = (bi * grid.side, bj * grid.side);
        let i = [i0, i0 + rows - 1];
        Self {
            i,
            j: [j0, j0 + columns - 1],
            d: i.map(|i| i64::from(i) + offset),
        }
    }

    /// How much is visible where all depends on the block that a query stands in: there are two at the most.
    fn if_standing(&self, side: u32, visible: impl Fn(i64) -> bool) -> Cover {
        match self.d.map(|d| visible(d.div_euclid(i64::from(side)))) {
            [true, true] => Cover::All,
            [false, false] => Cover::None,
            _ => Cover::Some,
        }
    }

    /// How many of the pairs have `low ≤ j − d ≤ high`.
    pub fn within(&self, low: i64, high: i64) -> Cover {
        let least = i64::from(self.j[0]) - self.d[1];
        let most = i64::from(self.j[1]) - self.d[0];
        if most < low || least > high {
            Cover::None
        } else if low <= least && most <= high {
            Cover::All
        } else {
            Cover::Some
        }
    }
}

/// Some where the set has a member in the range, else none.
fn any_of(set: &BTreeSet<u32>, low: i64, high: i64) -> Cover {
    let clamp = |x: i64| x.clamp(0, i64::from(u32::MAX)) as u32;
    if high >= 0 && set.range(clamp(low)..=clamp(high)).next().is_some() {
        Cover::Some
    } else {
        Cover::None
    }
}

impl Rule {
    pub fn sees(&self, side: u32, [i, j]: [u32; 2], d: i64) -> bool {
        let block = d.div_euclid(i64::from(side));
        let distance = d - i64::from(j);
        let holds = |set: &BTreeSet<u32>, x: i64| u32::try_from(x).is_ok_and(|x| set.contains(&x));
        match self {
            Self::All => true,
            Self::Window {
                left,
                right,
                dilation,
            } => {
                (-i64::from(*right)..=i64::from(*left)).contains(&distance)
                    && distance % i64::from(*dilation) == 0
            }
            Self::Stride(stride) => distance % i64::from(*stride) == 0,
            Self::SameStretch(n) => d.div_euclid(i64::from(*n)) == i64::from(j / n),
            Self::Summary { stretch, summary } => j % stretch >= stretch - summary,
            Self::First(n) => j < *n,
            Self::Columns(columns) => columns.contains(&j),
            Self::Rows(rows) => holds(rows, d),
            Self::Diagonals(diagonals) => holds(diagonals, distance),
            Self::BlockWindow(n) => block.abs_diff(i64::from(j / side)) <= u64::from(*n),
            Self::GlobalBlocks(n) => (0..i64::from(*n)).contains(&block) || j / side < *n,
            Self::RandomBlocks { .. } => false,
            Self::Documents { q, k } => q[i as usize] == k[j as usize],
        }
    }

    pub fn cover(&self, side: u32, span: &Span) -> Cover {
        match self {
            Self::All => Cover::All,
            Self::Window {
                left,
                right,
                dilation,
            } => match span.within(-i64::from(*left), i64::from(*right)) {
                Cover::All if *dilation > 1 => Cover::Some,
                cover => cover,
            },
            Self::Stride(1) => Cover::All,
            Self::Stride(_) | Self::Summary { .. } => Cover::Some,
            Self::SameStretch(n) => {
                let stretches = span.d.map(|d| d.div_euclid(i64::from(*n)));
                let keys = span.j.map(|j| i64::from(j / n));
                if keys[1] < stretches[0] || keys[0] > stretches[1] {
                    Cover::None
                } else if keys[0] == keys[1] && stretches == keys {
                    Cover::All
                } else {
                    Cover::Some
                }
            }
            Self::First(n) if span.j[1] < *n => Cover::All,
            Self::First(n) if span.j[0] < *n => Cover::Some,
            Self::First(_) | Self::RandomBlocks { .. } => Cover::None,
            Self::Columns(columns) => any_of(columns, span.j[0].into(), span.j[1].into()),
            Self::Rows(rows) => any_of(rows, span.d[0], span.d[1]),
            Self::Diagonals(diagonals) => any_of(
                diagonals,
                span.d[0] - i64::from(span.j[1]),
                span.d[1] - i64::from(span.j[0]),
            ),
            Self::BlockWindow(n) => {
                let own = i64::from(span.j[0] / side);
                span.if_standing(side, |block| block.abs_diff(own) <= u64::from(*n))
            }
            Self::GlobalBlocks(n) if span.j[0] / side < *n => Cover::All,
            Self::GlobalBlocks(n) => {
                span.if_standing(side, |block| (0..i64::from(*n)).contains(&block))
            }
            Self::Documents { q, k } => documents(
                &q[span.i[0] as usize..=span.i[1] as usize],
                &k[span.j[0] as usize..=span.j[1] as usize],
            ),
        }
    }

    pub fn validate(&self, grid: &BlockGrid) -> Result<()> {
        let at_least_1 = |what, value: u32| match value {
            0 => Err(Error::size(what, value, "at least 1")),
            _ => Ok(()),
        };
        match self {
            Self::Window { dilation, .. } => at_least_1("dilation", *dilation),
            Self::Stride(n) | Self::SameStretch(n) => at_least_1("stride", *n),
            Self::Summary { stretch, summary } => {
                at_least_1("stride", *stretch)?;
                if summary > stretch {
                    let allowed = format!("at most the stride, {stretch}");
                    return Err(Error::size("summary", *summary, allowed));
                }
                Ok(())
            }
            Self::Documents { q, k } => {
                Error::check_values("the documents of queries", q.len(), grid.q_len.into())?;
                Error::check_values("the documents of keys", k.len(), grid.kv_len.into())
            }
            _ => Ok(()),
        }
    }
}

fn documents(q: &[i32], k: &[i32]) -> Cover {
    let range = |ids: &[i32]| {
        let (least, most) = (ids.iter().min(), ids.iter().max());
        [least, most].map(|x| x.copied().unwrap_or(0))
    };
    let (q, k) = (range(q), range(k));
    if q[1] < k[0] || k[1] < q[0] {
        Cover::None
    } else if q[0] == q[1] && q == k {
        Cover::All
    } else {
        Cover::Some
    }
}

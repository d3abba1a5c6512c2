//! How many dispatches of bounded cost a kernel's tiles take.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{Params, Variant};
use crate::problem::Tokens;

use super::Cost;
use super::builder::PlanBuilder;
use super::limits::product;
use super::step::{Bindings, Step};

/// Tiles of rows per head.
#[derive(Clone, Debug)]
pub(super) enum TileCounts {
    /// The same in every batch.
    Same(u32),
    /// Of each sequence of a ragged batch.
    Each(Vec<u32>),
}

impl TileCounts {
    /// Of the tiles of `tile_rows` rows that hold one of `rows`, or of those of them that a sequence has; `packed` heads
    /// stand side by side. Numbers those of sequences among the small operands.
    pub fn new(
        builder: &mut PlanBuilder<'_>,
        params: &mut Params,
        side: Tokens<'_>,
        rows: &Range<u32>,
        (tile_rows, packed): (u32, u32),
    ) -> Result<Self> {
        let begin = rows.start * packed / tile_rows;
        let before = |end: u32| match end.min(rows.end) {
            end if end <= rows.start => 0,
            end => (end * packed).div_ceil(tile_rows) - begin,
        };
        params.work.tiles = before(rows.end);
        if !side.is_ragged() {
            return Ok(Self::Same(params.work.tiles));
        }
        let counts: Vec<u32> = (0..side.batch).map(|b| before(side.of(b))).collect();
        let counts = Self::Each(counts);
        let [_, mut starts] = counts.words(side.batch);
        starts.push(u32::try_from(counts.sum(side.batch)).unwrap_or(u32::MAX));
        params.sequences.tiles_at = builder.push_aux(starts)?;
        Ok(counts)
    }

    pub fn of(&self, b: u32) -> u32 {
        match self {
            Self::Same(count) => *count,
            Self::Each(counts) => counts[b as usize],
        }
    }

    /// Of a head of each of the first batches, together.
    pub fn sum(&self, batches: u32) -> u64 {
        match self {
            Self::Same(count) => product([u64::from(*count), batches.into()]),
            Self::Each(counts) => {
                let counts = counts.iter().take(batches as usize);
                counts.map(|&count| u64::from(count)).sum()
            }
        }
    }

    /// Words that tell how many tiles each batch has, and how many those before it have.
    pub fn words(&self, batches: u32) -> [Vec<u32>; 2] {
        let counts: Vec<u32> = (0..batches).map(|b| self.of(b)).collect();
        let before = counts.iter().scan(0_u32, |sum, count| {
            let before = *sum;
            *sum = sum.saturating_add(*count);
            Some(before)
        });
        let before = before.collect();
        [counts, before]
    }
}

/// Batches, and heads by the numbers of a kernel's work.
pub(super) type WorkHeads = (Range<u32>, Range<u32>);

/// Steps over the tiles of these batches and heads and their `splits`; `cost` answers what a tile of a batch
/// and head costs.
pub(super) fn tile_steps(
    builder: &mut PlanBuilder<'_>,
    variant: impl Into<Variant>,
    bindings: &Bindings,
    params: &Params,
    (of, counts): (&WorkHeads, &TileCounts),
    mut cost: impl FnMut(u32, u32, u32) -> Cost,
) -> Result<()> {
    let variant = variant.into();
    let (heads, splits) = (params.work.heads, params.work.splits);
    let all = [counts.sum(params.sizes.batch), heads.into(), splits.into()];
    // The last number of their work, before they are counted through.
    check_work(product(all))?;
    let number = |b: u32, h: u32| {
        let of_batch = u64::from(h) * u64::from(counts.of(b));
        counts.sum(b) * u64::from(heads) + of_batch
    };
    let (batches, of_heads) = of;
    if batches.is_empty() {
        return Ok(());
    }
    if *of_heads == (0..heads) {
        let run = (number(batches.start, 0), of, counts);
        return run_steps(builder, (variant, bindings), params, run, &mut cost);
    }
    // Some heads of several batches are not numbered one after the other.
    batches.clone().try_for_each(|b| {
        let of = (b..b + 1, of_heads.clone());
        let run = (number(b, of_heads.start), &of, counts);
        run_steps(builder, (variant, bindings), params, run, &mut cost)
    })
}

/// Steps over a run of batches and heads, whose first tile has the number `first`.
fn run_steps(
    builder: &mut PlanBuilder<'_>,
    (variant, bindings): (Variant, &Bindings),
    params: &Params,
    (first, (batches, heads), counts): (u64, &WorkHeads, &TileCounts),
    cost: &mut impl FnMut(u32, u32, u32) -> Cost,
) -> Result<()> {
    let splits = u64::from(params.work.splits);
    let tiles = batches.clone().flat_map(|b| {
        let count = counts.of(b);
        let heads = heads.clone();
        heads.flat_map(move |h| (0..count).map(move |n| (b, h, folded(n, count))))
    });
    let most = builder.step_flops();
    // A step's numbers are u32, and its grid must hold it.
    let grid = u64::from(builder.caps.workgroups_per_dimension).pow(2);
    let most_items = grid.min(1 << 31) / splits;
    let (mut begin, mut item, mut sum) = (first, first, Cost::default());
    for (b, h, tile) in tiles {
        let next = cost(b, h, tile);
        if item > begin
            && (sum.flops.saturating_add(next.flops) > most || item - begin >= most_items)
        {
            push(
                builder,
                variant,
                bindings,
                params,
                begin * splits..item * splits,
                sum,
            )?;
            (begin, sum) = (item, Cost::default());
        }
        sum += next;
        item += 1;
    }
    push(
        builder,
        variant,
        bindings,
        params,
        begin * splits..item * splits,
        sum,
    )
}

/// The tile that the kernels' `n`th workgroup of a head owns: from both ends in turn (see `part::work`).
fn folded(n: u32, count: u32) -> u32 {
    if n.is_multiple_of(2) {
        n / 2
    } else {
        count - 1 - n / 2
    }
}

/// A step of one workgroup for each number of `work`.
pub(super) fn push(
    builder: &mut PlanBuilder<'_>,
    variant: impl Into<Variant>,
    bindings: &Bindings,
    params: &Params,
    work: Range<u64>,
    cost: Cost,
) -> Result<()> {
    if work.is_empty() {
        return Ok(());
    }
    check_work(work.end)?;
    let grid = builder.grid(work.end - work.start)?;
    builder.push_step(Step {
        variant: variant.into(),
        bindings: bindings.clone(),
        params: params.with(|p| {
            p.work.begin = work.start as u32;
            p.work.end = work.end as u32;
        }),
        items: 1,
        grid,
        cost,
    })
}

/// Refuses more workgroups than their numbers count.
fn check_work(workgroups: u64) -> Result<()> {
    if workgroups > u64::from(u32::MAX) {
        return Err(Error::Limit {
            what: "the workgroups of a call",
            actual: workgroups,
            limit: "the range of u32",
            allowed: u32::MAX.into(),
            way_out: "call it by slices of the queries",
        });
    }
    Ok(())
}

/// `range` in pieces of at most `n`.
pub(super) fn cut(range: Range<u32>, n: u32) -> impl Iterator<Item = Range<u32>> {
    let end = range.end;
    std::iter::successors(Some(range.start), move |&at| at.checked_add(n))
        .take_while(move |&at| at < end)
        .map(move |at| at..at.saturating_add(n).min(end))
}

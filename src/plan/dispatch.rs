//! How many dispatches of bounded cost a kernel's tiles take.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::kernel::{Params, Variant};

use super::Cost;
use super::builder::PlanBuilder;
use super::limits::product;
use super::step::{Bindings, Step};

/// Batches, and heads by the numbers of a kernel's work.
pub(super) type WorkHeads = (Range<u32>, Range<u32>);

/// Steps over the `work.tiles` tiles of these batches and heads and their `splits`; `cost` answers what a tile of a batch
/// and head costs.
pub(super) fn tile_steps(
    builder: &mut PlanBuilder<'_>,
    variant: impl Into<Variant>,
    bindings: &Bindings,
    (params, of): (&Params, &WorkHeads),
    mut cost: impl FnMut(u32, u32, u32) -> Cost,
) -> Result<()> {
    let variant = variant.into();
    let heads = params.work.heads;
    let numbers = [
        params.work.tiles,
        heads,
        params.sizes.batch,
        params.work.splits,
    ];
    // The last number of their work, before they are counted through.
    check_work(product(numbers.map(u64::from)))?;
    let number = |b: u32, h: u32| u64::from(b) * u64::from(heads) + u64::from(h);
    let (batches, of_heads) = of;
    if *of_heads == (0..heads) {
        let run = number(batches.start, 0)..number(batches.end, 0);
        return run_steps(builder, (variant, bindings), params, run, &mut cost);
    }
    // Some heads of several batches are not numbered one after the other.
    batches.clone().try_for_each(|b| {
        let run = number(b, of_heads.start)..number(b, of_heads.end);
        run_steps(builder, (variant, bindings), params, run, &mut cost)
    })
}

/// Steps over a run of batches and heads, counted through `[B, work.heads]`.
fn run_steps(
    builder: &mut PlanBuilder<'_>,
    (variant, bindings): (Variant, &Bindings),
    params: &Params,
    run: Range<u64>,
    cost: &mut impl FnMut(u32, u32, u32) -> Cost,
) -> Result<()> {
    let (tiles, splits) = (u64::from(params.work.tiles), u64::from(params.work.splits));
    let heads = u64::from(params.work.heads);
    let (first, items) = (run.start * tiles, run.end * tiles);
    let most = builder.step_flops();
    // A step's numbers are u32, and its grid must hold it.
    let grid = u64::from(builder.caps.workgroups_per_dimension).pow(2);
    let most_items = grid.min(1 << 31) / splits;
    let (mut begin, mut sum) = (first, Cost::default());
    for item in first..items {
        let head = item / tiles;
        let next = cost(
            (head / heads) as u32,
            (head % heads) as u32,
            folded((item % tiles) as u32, params.work.tiles),
        );
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
    }
    push(
        builder,
        variant,
        bindings,
        params,
        begin * splits..items * splits,
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

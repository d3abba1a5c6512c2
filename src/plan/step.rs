//! Dispatches, and how many of bounded cost a kernel's tiles take.

use std::ops::Range;

use crate::caps::AdapterClass;
use crate::error::{Error, Result};
use crate::kernel::{Params, Variant};
use crate::problem::Role;

use super::Cost;
use super::builder::Draft;

/// What stands behind a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Operand(Role),
    /// A buffer of the call's own, by its number in [`Plan::scratch`].
    Scratch(usize),
    /// The call's small operands.
    Aux,
    /// Cosines and sines of [`Plan::table`].
    Table,
}

/// What a step binds to a name of its shader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub slot: Slot,
    /// Bytes, a multiple of 256.
    pub offset: u64,
    /// Bytes; 0 is all of a buffer.
    pub size: u64,
}

/// Tensors by the names that the shader gives them; the small operands (`aux`), the rotary table (`table`) and the
/// parameters are bound by the call.
pub type Bindings = Vec<(&'static str, Binding)>;

/// One dispatch of bounded cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    pub(crate) variant: Variant,
    pub(crate) bindings: Bindings,
    pub(crate) params: Params,
    /// Workgroups.
    pub grid: [u32; 3],
    pub cost: Cost,
}

impl Step {
    /// The kind of its kernel: `prefill`, `combine`, …
    pub fn kernel(&self) -> &'static str {
        self.variant.entry()
    }

    #[doc(hidden)]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    #[doc(hidden)]
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    #[doc(hidden)]
    pub fn params(&self) -> &Params {
        &self.params
    }
}

/// Steps over the `q_tiles` tiles of every batch and head (`work_heads`) and their `splits`; `cost` answers what a
/// tile of a batch and head costs.
pub(super) fn tile_steps(
    draft: &mut Draft<'_>,
    variant: impl Into<Variant>,
    bindings: &Bindings,
    params: &Params,
    mut cost: impl FnMut(u32, u32, u32) -> Cost,
) -> Result<()> {
    let variant = variant.into();
    let (tiles, splits) = (u64::from(params.work.tiles), u64::from(params.work.splits));
    let heads = u64::from(params.work.heads);
    let items = tiles * heads * u64::from(params.sizes.batch);
    let most = draft.step_flops();
    // A step's numbers are u32, and its grid must hold it.
    let grid = u64::from(draft.caps.workgroups_per_dimension).pow(2);
    let most_items = grid.min(1 << 31) / splits;
    let (mut begin, mut sum) = (0, Cost::default());
    for item in 0..items {
        let head = item / tiles;
        let next = cost(
            (head / heads) as u32,
            (head % heads) as u32,
            folded((item % tiles) as u32, params.work.tiles),
        );
        if item > begin && (sum.flops + next.flops > most || item - begin >= most_items) {
            push(
                draft,
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
        draft,
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
    draft: &mut Draft<'_>,
    variant: impl Into<Variant>,
    bindings: &Bindings,
    params: &Params,
    work: Range<u64>,
    cost: Cost,
) -> Result<()> {
    if work.is_empty() {
        return Ok(());
    }
    if work.end > u64::from(u32::MAX) {
        return Err(Error::Limit {
            what: "the workgroups of a call",
            actual: work.end,
            limit: "the range of u32",
            allowed: u32::MAX.into(),
            way_out: "call it by slices of the queries",
        });
    }
    let grid = draft.grid(work.end - work.start)?;
    draft.steps.push(Step {
        variant: variant.into(),
        bindings: bindings.clone(),
        params: params.with(|p| {
            p.work.begin = work.start as u32;
            p.work.end = work.end as u32;
        }),
        grid,
        cost,
    });
    Ok(())
}

/// FLOPs of a step at the most: about half a second on lavapipe (37 to 72 GFLOP/s measured) and on a small integrated GPU,
/// well under the 2 s after which Windows and amdgpu reset a device.
pub(super) fn step_flops(class: AdapterClass) -> u64 {
    match class {
        AdapterClass::Cpu => 20_000_000_000,
        AdapterClass::Integrated => 50_000_000_000,
        AdapterClass::Discrete => 500_000_000_000,
    }
}

/// `range` in pieces of at most `n`.
pub(super) fn cut(range: Range<u32>, n: u32) -> impl Iterator<Item = Range<u32>> {
    let end = range.end;
    std::iter::successors(Some(range.start), move |&at| at.checked_add(n))
        .take_while(move |&at| at < end)
        .map(move |at| at..at.saturating_add(n).min(end))
}

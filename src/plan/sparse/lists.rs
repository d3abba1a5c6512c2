//! Steps that write lists of blocks: of the best scores, of a scan, of the other axis.

use crate::caps::AdapterClass;
use crate::error::{Error, Result};
use crate::kernel::{ListBlocks, ListFrom, Params, ROW_KERNEL_INVOCATIONS};
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::push;
use crate::plan::limits::product;
use crate::plan::{Binding, Cost};
use crate::problem::{BlockGrid, DeviceBlocks};

/// Bytes of a matrix of blocks at a time; more blocks of queries than these hold are chosen slice by slice.
const MATRIX_BYTES: u64 = 32 << 20;

/// Blocks of queries whose matrix of blocks is held at a time.
pub(in crate::plan) fn matrix_rows(builder: &PlanBuilder<'_>, grid: &BlockGrid) -> u32 {
    let row = product([grid.batch, grid.heads, grid.kv_blocks(), 4].map(u64::from));
    let bytes = MATRIX_BYTES.min(builder.caps.binding_bytes);
    (bytes / row.max(1)).clamp(1, u32::MAX.into()) as u32
}

/// Lists that a step makes.
pub(in crate::plan) fn list_rows(params: &Params) -> u64 {
    product([params.sizes.batch, params.sizes.q_heads, params.work.tiles].map(u64::from))
}

/// A word for each block of the rows of a step.
pub(in crate::plan) fn matrix(
    builder: &mut PlanBuilder<'_>,
    what: &'static str,
    params: &Params,
) -> Result<Binding> {
    let columns = u64::from(params.lists.columns);
    builder.scratch(what, product([list_rows(params), columns, 4]))
}

/// Parameters of steps that write these lists.
pub(in crate::plan) fn listing(params: &Params, lists: &DeviceBlocks) -> Params {
    params.with(|p| {
        p.listing.at = params.lists.rows_at;
        p.listing.rows = lists.grid.q_blocks();
        p.listing.columns = lists.grid.kv_blocks();
        p.listing.capacity = lists.capacity;
    })
}

/// A step that lists the blocks of the step's rows, of a matrix or of the lists of the other axis.
pub(in crate::plan) fn list(
    builder: &mut PlanBuilder<'_>,
    from: ListFrom,
    params: &Params,
    matrix: Option<Binding>,
) -> Result<()> {
    let rows = list_rows(params);
    // How often each block is looked at.
    let rounds = if from == ListFrom::Scores { 18 } else { 2 };
    let invocations = list_invocations(builder, from, params, rounds)?;
    let mut bindings = vec![("lists", builder.nothing())];
    bindings.extend(matrix.map(|states| ("states", states)));
    let key = ListBlocks { from, invocations };
    let looks = u64::from(params.listing.columns) * rounds * reads_per_look(from, params);
    let per_step = (STEP_LOOKS / looks.max(1)).max(1);
    for begin in (0..rows).step_by(per_step as usize) {
        let work = begin..rows.min(begin + per_step);
        let lists = work.end - work.start;
        let cost = Cost {
            read_bytes: lists * looks * 4,
            written_bytes: lists * (1 + u64::from(params.listing.capacity)) * 4,
            ..Cost::default()
        };
        push(builder, key, &bindings, params, work, cost)?;
    }
    Ok(())
}

/// Blocks that a step looks at: half a second on lavapipe, which reads 1 GB/s.
const STEP_LOOKS: u64 = 1 << 27;

/// Reads for a look at a block: a list of the other axis is searched by halves.
fn reads_per_look(from: ListFrom, params: &Params) -> u64 {
    match from {
        ListFrom::Lists => u64::from(34 - params.lists.capacity.leading_zeros()),
        ListFrom::Scores | ListFrom::Scan => 1,
    }
}

/// Invocations that share a list. On lavapipe every barrier and every atomic of an invocation takes its time: 1024 lists
/// of 128 blocks take 145 ms with 64 invocations per list and 35 ms with 8.
fn list_invocations(
    builder: &PlanBuilder<'_>,
    from: ListFrom,
    params: &Params,
    rounds: u64,
) -> Result<u32> {
    let reads = reads_per_look(from, params);
    let iterations = |invocations: u32| {
        let run = u64::from(params.listing.columns.div_ceil(invocations));
        rounds * (run * reads + 5) + 2 * u64::from(invocations)
    };
    let few = builder.caps.class == AdapterClass::Cpu;
    let cap = builder.caps.iterations.unwrap_or(u64::MAX);
    let choices = if few {
        [8, ROW_KERNEL_INVOCATIONS]
    } else {
        [ROW_KERNEL_INVOCATIONS; 2]
    };
    let fits = choices.into_iter().find(|&n| iterations(n) <= cap);
    fits.ok_or(Error::Limit {
        what: "the blocks that a list is chosen from",
        actual: iterations(ROW_KERNEL_INVOCATIONS),
        limit: "loop iterations of an invocation",
        allowed: cap,
        way_out: match from {
            ListFrom::Lists => "choose larger blocks, or call it by slices of the queries",
            ListFrom::Scores | ListFrom::Scan => "choose larger blocks, or fewer keys",
        },
    })
}

//! Masks beyond intervals as a step sees them: which need code, and where lists, bits and documents lie.

use crate::error::Result;
use crate::kernel::{ListFrom, MaskKey, NOTHING, Params, Strides};
use crate::plan::builder::PlanBuilder;
use crate::plan::sparse::lists::list;
use crate::problem::{
    BlockGrid, BlockMask, Blocks, DeviceBlocks, MaskBits, Problem, Role, Segments, TREE_WORDS,
    Tree, tokens, tree_words,
};

/// Lays out block lists and documents among the small operands.
pub(in crate::plan) fn push_mask(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<MaskKey> {
    let mut key = MaskKey {
        segments: push_segments(builder, problem, params)?,
        dense: push_dense(builder, problem, params)?,
        tree: push_tree(builder, problem, params)?,
        ..MaskKey::default()
    };
    if let Some(Blocks::Host(mask)) = &problem.mask.blocks {
        push_lists(builder, mask, params)?;
        key.list = true;
        key.bits = !mask.tiles().is_empty();
        builder.note(format!("blocks: {mask}"));
    }
    if let Some(lists) = problem.mask.device_blocks(&problem.shape) {
        let given = matches!(problem.mask.blocks, Some(Blocks::Device(_)));
        push_device_lists(builder, &lists, params, given.then_some(Role::BlockLists))?;
        (key.list, key.device) = (true, true);
        let mods = problem.mods.as_ref();
        key.marked = given && mods.is_some_and(|mods| mods.text.has_mask());
        if given {
            builder.note(format!(
                "blocks: lists of at most {} of {} blocks lie on the device; costs are those of all blocks",
                lists.capacity,
                lists.grid.kv_blocks()
            ));
        }
    }
    Ok(key)
}

/// Room for lists of the device's: those of an operand, or of a step to come.
pub(in crate::plan) fn push_device_lists(
    builder: &mut PlanBuilder<'_>,
    lists: &DeviceBlocks,
    params: &mut Params,
    role: Option<Role>,
) -> Result<()> {
    let words = lists.words();
    builder.check_binding("the lists of blocks", words.saturating_mul(4))?;
    push_grid(&lists.grid, params);
    params.lists.capacity = lists.capacity;
    params.lists.rows_at = match role {
        Some(role) => builder.copy_aux(role, words)?,
        None => builder.push_aux(std::iter::repeat_n(0, words as usize))?,
    };
    Ok(())
}

/// How lists are numbered.
fn push_grid(grid: &BlockGrid, params: &mut Params) {
    params.lists.side = grid.side;
    params.lists.batch = if grid.batch > 1 {
        grid.heads * grid.q_blocks()
    } else {
        0
    };
    params.lists.head = if grid.heads > 1 { grid.q_blocks() } else { 0 };
    params.lists.columns = grid.kv_blocks();
}

/// The same for a pass over keys: each block of keys lists the blocks of queries that see it, each key knows the
/// queries of its document.
pub(in crate::plan) fn push_transposed(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<()> {
    if let Some(mask) = problem.mask.host_blocks() {
        push_lists(builder, &mask.transpose(), params)?;
    }
    if let Some(lists) = problem.mask.device_blocks(&problem.shape) {
        transpose_device_lists(builder, &lists, params)?;
    }
    let segments = problem.mask.segments.as_ref();
    let tokens = [problem.queries(), problem.keys()];
    if let Some(queries) = segments.and_then(|s| s.queries_of_keys(tokens)) {
        params.documents.queries_at = builder.push_aux(queries.into_iter().flatten())?;
    }
    Ok(())
}

/// A step that transposes lists of the device's.
fn transpose_device_lists(
    builder: &mut PlanBuilder<'_>,
    lists: &DeviceBlocks,
    params: &mut Params,
) -> Result<()> {
    let transposed = DeviceBlocks {
        grid: BlockGrid {
            q_len: lists.grid.kv_len,
            kv_len: lists.grid.q_len,
            ..lists.grid
        },
        capacity: lists.grid.q_blocks(),
    };
    let from = *params;
    push_device_lists(builder, &transposed, params, None)?;
    let step = from.with(|p| {
        p.listing.at = params.lists.rows_at;
        p.listing.rows = transposed.grid.q_blocks();
        p.listing.columns = transposed.grid.kv_blocks();
        p.listing.capacity = transposed.capacity;
        p.sizes.batch = lists.grid.batch;
        p.sizes.q_heads = lists.grid.heads;
        p.work.tiles = transposed.grid.q_blocks();
    });
    list(builder, ListFrom::Lists, &step, None)
}

/// Lists of a mask, or of a transposed one: (start, length) a list, the listed blocks, the numbers of their bits
/// where any has bits, and the bits.
pub(in crate::plan) fn push_lists(
    builder: &mut PlanBuilder<'_>,
    mask: &BlockMask,
    params: &mut Params,
) -> Result<()> {
    let grid = mask.grid();
    let words = grid.side.div_ceil(32);
    let (lists, listed) = (grid.lists() as u64, mask.blocks().len() as u64);
    let bits = mask.tiles().len() as u64 * u64::from(grid.side * words);
    builder.check_binding("the lists of blocks", 4 * (2 * lists + 2 * listed + bits))?;
    push_grid(grid, params);
    let at = builder.push_aux(mask.blocks().iter().map(|block| block.index))?;
    if !mask.tiles().is_empty() {
        let tile = |tile: Option<u32>| tile.unwrap_or(NOTHING);
        let tiles = builder.push_aux(mask.blocks().iter().map(|block| tile(block.tile)))?;
        params.lists.tiles_from = tiles - at;
        let row_words = |row: &u128| {
            let row = *row;
            (0..words).map(move |n| (row >> (32 * n)) as u32)
        };
        let rows = mask.tiles().iter().flat_map(|tile| tile.iter());
        params.lists.bits_at = builder.push_aux(rows.flat_map(row_words))?;
    }
    let rows = mask.starts().windows(2);
    params.lists.rows_at =
        builder.push_aux(rows.flat_map(|list| [at + list[0], list[1] - list[0]]))?;
    Ok(())
}

/// The words of a boolean mask. Answers whether there is one.
fn push_dense(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<bool> {
    let Some(mask) = &problem.mask.dense else {
        return Ok(false);
    };
    // Validated: they are numbered by u32.
    let words = mask.words(&problem.shape).unwrap_or_default();
    builder.check_binding(Role::Mask.name(), words * 4)?;
    let at = match &mask.bits {
        MaskBits::Host(bits) => builder.push_aux(bits[..words as usize].iter().copied())?,
        MaskBits::Device => builder.copy_aux(Role::Mask, words)?,
    };
    params.mask = Strides::of(&mask.layout);
    params.mask.start += at;
    builder.note("the mask is asked pair by pair, in every tile".into());
    Ok(true)
}

/// The branches of queries that are drafts. Answers whether they are.
fn push_tree(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<bool> {
    let (shape, Some(tree)) = (&problem.shape, &problem.mask.tree) else {
        return Ok(false);
    };
    params.tree.at = match tree {
        Tree::Host(parents) => builder.push_aux(tree_words(shape.q_len, parents))?,
        Tree::Device => {
            let words = u64::from(TREE_WORDS) * tokens(shape.batch, shape.q_len);
            builder.copy_aux(Role::Tree, words)?
        }
    };
    builder.note("the tree is asked pair by pair in tiles that reach the queries' own keys".into());
    Ok(true)
}

/// Documents as intervals where they are; else by token. Answers whether pairs are to be compared.
fn push_segments(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<bool> {
    let (tokens, Some(segments)) = ([problem.queries(), problem.keys()], &problem.mask.segments)
    else {
        return Ok(false);
    };
    if let Some(keys) = segments.keys_of_queries(tokens) {
        params.documents.keys_at = builder.push_aux(keys.into_iter().flatten())?;
        return Ok(false);
    }
    (params.documents.q_at, params.documents.k_at) = match segments {
        Segments::Host { q, k } => {
            builder
                .note("segment ids do not rise along the sequence: compared in every tile".into());
            let mut push = |ids: &[i32]| builder.push_aux(ids.iter().map(|&id| id as u32));
            (push(q)?, push(k)?)
        }
        Segments::Device => {
            builder.note("segment ids lie on the device: compared in every tile".into());
            let [q, k] = tokens.map(|side| side.count());
            (
                builder.copy_aux(Role::SegmentsQ, q)?,
                builder.copy_aux(Role::SegmentsK, k)?,
            )
        }
    };
    Ok(true)
}

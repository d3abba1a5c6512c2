//! Masks beyond intervals as a step sees them: which need code, and where lists, bits and documents lie.

use crate::error::Result;
use crate::problem::{BlockMask, Blocks, Problem, Segments};

use super::Role;
use super::draft::Draft;
use super::params::{NOTHING, Params};
use super::variant::MaskKey;

/// Lays out block lists and documents among the small operands.
pub(super) fn push_mask(
    draft: &mut Draft<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<MaskKey> {
    let mut key = MaskKey {
        segments: push_segments(draft, problem, params),
        ..MaskKey::default()
    };
    if let Some(Blocks::Host(mask)) = &problem.mask.blocks {
        push_lists(draft, mask, params)?;
        key.list = true;
        key.bits = !mask.tiles().is_empty();
        draft.note(format!("blocks: {mask}"));
    }
    Ok(key)
}

/// The same for a pass over keys: each block of keys lists the blocks of queries that see it, each key knows the
/// queries of its document.
pub(super) fn push_transposed(
    draft: &mut Draft<'_>,
    problem: &Problem,
    params: &mut Params,
) -> Result<()> {
    if let Some(mask) = problem.mask.host_blocks() {
        push_lists(draft, &mask.transpose(), params)?;
    }
    let segments = problem.mask.segments.as_ref();
    if let Some(queries) = segments.and_then(|s| s.queries_of_keys(&problem.shape)) {
        params.segment_queries_at = draft.push_aux(queries.into_iter().flatten());
    }
    Ok(())
}

/// Lists of a mask, or of a transposed one: (start, length) a list, the listed blocks, the numbers of their bits
/// where any has bits, and the bits.
pub(super) fn push_lists(
    draft: &mut Draft<'_>,
    mask: &BlockMask,
    params: &mut Params,
) -> Result<()> {
    let grid = mask.grid();
    let words = grid.side.div_ceil(32);
    let (lists, listed) = (grid.lists() as u64, mask.blocks().len() as u64);
    let bits = mask.tiles().len() as u64 * u64::from(grid.side * words);
    draft.check_binding("the lists of blocks", 4 * (2 * lists + 2 * listed + bits))?;
    params.block_side = grid.side;
    params.block_batch = if grid.batch > 1 {
        grid.heads * grid.q_blocks()
    } else {
        0
    };
    params.block_head = if grid.heads > 1 { grid.q_blocks() } else { 0 };
    params.block_columns = grid.kv_blocks();
    let at = draft.push_aux(mask.blocks().iter().map(|block| block.index));
    if !mask.tiles().is_empty() {
        let tile = |tile: Option<u32>| tile.unwrap_or(NOTHING);
        let tiles = draft.push_aux(mask.blocks().iter().map(|block| tile(block.tile)));
        params.block_tiles_from = tiles - at;
        let row_words = |row: &u128| {
            let row = *row;
            (0..words).map(move |n| (row >> (32 * n)) as u32)
        };
        let rows = mask.tiles().iter().flat_map(|tile| tile.iter());
        params.block_bits_at = draft.push_aux(rows.flat_map(row_words));
    }
    let rows = mask.starts().windows(2);
    params.block_rows_at = draft.push_aux(rows.flat_map(|list| [at + list[0], list[1] - list[0]]));
    Ok(())
}

/// Documents as intervals where they are; else by token. Answers whether pairs are to be compared.
fn push_segments(draft: &mut Draft<'_>, problem: &Problem, params: &mut Params) -> bool {
    let (shape, Some(segments)) = (&problem.shape, &problem.mask.segments) else {
        return false;
    };
    if let Some(keys) = segments.keys_of_queries(shape) {
        params.segment_keys_at = draft.push_aux(keys.into_iter().flatten());
        return false;
    }
    (params.segments_q_at, params.segments_k_at) = match segments {
        Segments::Host { q, k } => {
            draft.note("segment ids do not rise along the sequence: compared in every tile".into());
            let mut push = |ids: &[i32]| draft.push_aux(ids.iter().map(|&id| id as u32));
            (push(q), push(k))
        }
        Segments::Device => {
            draft.note("segment ids lie on the device: compared in every tile".into());
            let q = draft.copy_aux(Role::SegmentsQ, shape.batch * shape.q_len);
            (
                q,
                draft.copy_aux(Role::SegmentsK, shape.batch * shape.kv_len),
            )
        }
    };
    true
}

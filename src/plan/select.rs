//! Blocks of keys chosen from q and k, as lists among the small operands that the attention kernel then walks.

use std::ops::Range;

use crate::error::Result;
use crate::problem::{DeviceBlocks, Problem, Select, SelectBy, Slice};

use super::draft::Draft;
use super::inputs::Source;
use super::lists::{list, listing, matrix, matrix_rows};
use super::params::Params;
use super::scan;
use super::steps::cut;
use super::variant::{Input, ListFrom, MaskKey, Pool, ScanBlocks, ScoreBlocks, Variant};
use super::{Binding, Cost, Role};

/// The rows of q and k that a call looks at: those of its slice, and where blocks are chosen all that take part in the
/// choice.
pub(super) fn rows_looked_at(problem: &Problem) -> Slice {
    let (shape, slice) = (&problem.shape, problem.slice());
    match problem.mask.selected_blocks() {
        None => slice,
        Some(select) => {
            let blocks = blocks_of(&slice.q, select.side);
            let end = (blocks.end * select.side).min(shape.q_len);
            Slice {
                q: blocks.start * select.side..end,
                k: 0..shape.kv_len,
            }
        }
    }
}

fn blocks_of(rows: &Range<u32>, side: u32) -> Range<u32> {
    rows.start / side..rows.end.div_ceil(side)
}

/// Fills the lists that [`super::blocks::push_mask`] made room for. `q` and `k` are turned already, `params` know the
/// masks.
pub(super) fn steps(
    draft: &mut Draft<'_>,
    problem: &Problem,
    params: &Params,
    mask: MaskKey,
    q: &Source,
    k: &Source,
) -> Result<()> {
    let Some(select) = problem.mask.selected_blocks() else {
        return Ok(());
    };
    let shape = &problem.shape;
    let lists = select.lists(shape, &problem.mask);
    let params = Params {
        // The choice is the whole problem's, whatever the slice.
        q_begin: 0,
        q_end: shape.q_len,
        k_begin: 0,
        k_end: shape.kv_len,
        ..*params
    };
    let choice = Choice {
        problem,
        select,
        lists,
        params,
        blocks: blocks_of(&problem.slice().q, select.side),
    };
    draft.note(format!(
        "{} of {} blocks of {} keys are chosen for each {} queries by {}: at most {} with those always kept",
        select.count,
        lists.grid.kv_blocks(),
        select.side,
        select.side,
        match select.by {
            SelectBy::Mean => "their means",
            SelectBy::MinMax => "their least and largest values",
        },
        lists.capacity,
    ));
    choice.steps(draft, mask, q, k)
}

/// Lets the call write the lists of its slice's queries, where it is to.
pub(super) fn copy_lists(draft: &mut Draft<'_>, problem: &Problem, params: &Params) {
    let Some(select) = problem.mask.selected_blocks().filter(|s| s.written) else {
        return;
    };
    let lists = select.lists(&problem.shape, &problem.mask);
    let (rows, list) = (
        blocks_of(&problem.slice().q, select.side),
        1 + lists.capacity,
    );
    let head = lists.grid.q_blocks() * list;
    let parts = (0..lists.grid.batch * lists.grid.heads)
        .map(|n| n * head + rows.start * list..n * head + rows.end * list);
    let words = lists.words() as u32;
    draft.copy_out(Role::BlockLists, params.block_rows_at, words, parts);
}

struct Choice<'a> {
    problem: &'a Problem,
    select: &'a Select,
    lists: DeviceBlocks,
    params: Params,
    /// Of queries: those of the slice.
    blocks: Range<u32>,
}

impl Choice<'_> {
    fn steps(&self, draft: &mut Draft<'_>, mask: MaskKey, q: &Source, k: &Source) -> Result<()> {
        let shape = &self.problem.shape;
        let extremes = self.select.by == SelectBy::MinMax;
        let q_ends = draft.push_aux(std::iter::repeat_n(shape.q_len, shape.batch as usize));
        let queries = Pooled {
            what: "scratch for pooled q",
            heads: shape.q_heads,
            len: shape.q_len,
            blocks: self.blocks.clone(),
            ends_at: q_ends,
            extremes: false,
        };
        let keys = Pooled {
            what: "scratch for pooled k",
            heads: shape.kv_heads,
            len: shape.kv_len,
            blocks: 0..self.lists.grid.kv_blocks(),
            ends_at: self.params.lens_at,
            extremes,
        };
        let q_pool = self.pool(draft, q, &queries)?;
        let k_pool = self.pool(draft, k, &keys)?;
        let chunks_at = draft.push_aux([shape.head_dim.div_ceil(4)]);
        let scan_key = ScanBlocks {
            intervals: true,
            mask_mod: self
                .problem
                .mods
                .as_ref()
                .is_some_and(|mods| mods.text.has_mask()),
            segments: mask.segments,
        };
        let scanned = scan_key.mask_mod || scan_key.segments;
        for rows in cut(self.blocks.clone(), matrix_rows(draft, &self.lists.grid)) {
            let params = Params {
                q_tiles: rows.end - rows.start,
                block_begin: rows.start,
                pool_begin: self.blocks.start,
                pool_blocks: self.blocks.end - self.blocks.start,
                chunks_at,
                keep_blocks: self.select.count,
                local_blocks: self.select.local,
                ..listing(&self.params, &self.lists)
            };
            let mut states = None;
            if scanned {
                let mods = self.problem.mods.as_ref();
                states = Some(scan::scan(draft, scan_key, mods, &params)?);
            }
            let ranks = matrix(draft, "scratch for block scores", &params)?;
            let mut bindings = vec![q_pool, k_pool, ranks, draft.aux_binding()];
            bindings.extend(states.map(Binding::read_only));
            let key = ScoreBlocks { extremes, scanned };
            self.score(draft, key, params, bindings)?;
            list(draft, ListFrom::Scores, &params, Some(ranks))?;
        }
        Ok(())
    }

    /// One pool a block and head: f32 rows of whole 4-vectors.
    fn pool(&self, draft: &mut Draft<'_>, rows: &Source, of: &Pooled) -> Result<Binding> {
        let dim = self.problem.shape.head_dim;
        let blocks = u64::from(of.blocks.end - of.blocks.start);
        let chunks = u64::from(dim.div_ceil(4));
        let items = u64::from(self.params.batch) * u64::from(of.heads) * blocks * chunks;
        let bytes = items * if of.extremes { 32 } else { 16 };
        let pooled = draft.scratch(of.what, bytes)?;
        let variant = Variant::Pool(Pool {
            input: Input::of(&[&rows.operand], &[dim]),
            extremes: of.extremes,
        });
        let params = Params {
            q: rows.bound.rows,
            q_heads: of.heads,
            q_len: of.len,
            q_tiles: blocks as u32,
            block_begin: of.blocks.start,
            pool_ends_at: of.ends_at,
            ..self.params
        };
        let bindings = vec![rows.bound.binding, pooled, draft.aux_binding()];
        let count = u64::from(of.len).min(blocks * u64::from(self.select.side));
        let elements = u64::from(self.params.batch) * u64::from(of.heads) * count * u64::from(dim);
        let cost = Cost {
            flops: elements * 2,
            read_bytes: elements * rows.operand.element.size(),
            written_bytes: bytes,
            ..Cost::default()
        };
        draft.item_steps(variant, params, bindings, items, cost)?;
        Ok(pooled.read_only())
    }

    fn score(
        &self,
        draft: &mut Draft<'_>,
        key: ScoreBlocks,
        params: Params,
        bindings: Vec<Binding>,
    ) -> Result<()> {
        let heads = u64::from(params.batch) * u64::from(params.q_heads);
        let quarters = |n: u32| u64::from(n.div_ceil(4));
        let items = heads * quarters(params.q_tiles) * quarters(params.block_columns);
        let pairs = heads * u64::from(params.q_tiles) * u64::from(params.block_columns);
        let dim = u64::from(self.problem.shape.head_dim);
        let cost = Cost {
            flops: pairs * dim * if key.extremes { 4 } else { 2 },
            read_bytes: items * 8 * dim * 4,
            written_bytes: pairs * 4,
            ..Cost::default()
        };
        draft.item_steps(Variant::ScoreBlocks(key), params, bindings, items, cost)
    }
}

/// What is pooled.
struct Pooled {
    what: &'static str,
    heads: u32,
    len: u32,
    blocks: Range<u32>,
    /// Where the rows that each batch has lie in `aux`.
    ends_at: u32,
    extremes: bool,
}

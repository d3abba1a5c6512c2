//! Blocks of keys chosen from q and k, as lists among the small operands that the attention kernel then visits.

use std::ops::Range;

use crate::error::Result;
use crate::kernel::{Input, ListFrom, MaskKey, Params, Pool, ScanBlocks, ScoreBlocks};
use crate::plan::builder::PlanBuilder;
use crate::plan::dispatch::cut;
use crate::plan::limits::product;
use crate::plan::source::Source;
use crate::plan::step::Bindings;
use crate::plan::{Binding, Cost};
use crate::problem::{DeviceBlocks, Problem, Role, Select, SelectBy};

use super::lists::{list, listing, matrix, matrix_rows};
use super::scan;

/// Fills the lists that [`crate::plan::attention::mask::push_mask`] made room for. `q` and `k` are rotated already, `params` know the
/// masks.
pub(in crate::plan) fn steps(
    builder: &mut PlanBuilder<'_>,
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
    let params = params.with(|p| {
        p.range.q_begin = 0;
        p.range.q_end = shape.q_len;
        p.range.k_begin = 0;
        p.range.k_end = shape.kv_len;
    });
    let chooser = Chooser {
        problem,
        select,
        lists,
        params,
        blocks: select.blocks_of(&problem.slice().q),
    };
    builder.note(format!(
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
    chooser.steps(builder, mask, q, k)
}

/// Lets the call write the lists of its slice's queries, where it is to.
pub(in crate::plan) fn copy_lists(
    builder: &mut PlanBuilder<'_>,
    problem: &Problem,
    params: &Params,
) {
    let Some(select) = problem.mask.selected_blocks().filter(|s| s.written) else {
        return;
    };
    let lists = select.lists(&problem.shape, &problem.mask);
    let (rows, list) = (select.blocks_of(&problem.slice().q), 1 + lists.capacity);
    let head = lists.grid.q_blocks() * list;
    let parts = (0..lists.grid.batch * lists.grid.heads)
        .map(|n| n * head + rows.start * list..n * head + rows.end * list);
    let words = lists.words() as u32;
    builder.copy_out(Role::BlockLists, params.lists.rows_at, words, parts);
}

struct Chooser<'a> {
    problem: &'a Problem,
    select: &'a Select,
    lists: DeviceBlocks,
    params: Params,
    /// Of queries: those of the slice.
    blocks: Range<u32>,
}

impl Chooser<'_> {
    fn steps(
        &self,
        builder: &mut PlanBuilder<'_>,
        mask: MaskKey,
        q: &Source,
        k: &Source,
    ) -> Result<()> {
        let shape = &self.problem.shape;
        let extremes = self.select.by == SelectBy::MinMax;
        let q_ends = builder.push_per_batch(&self.params, shape.q_len)?;
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
            ends_at: self.params.intervals.lens_at,
            extremes,
        };
        let q_pool = self.pool(builder, q, &queries)?;
        let k_pool = self.pool(builder, k, &keys)?;
        let chunks_at = builder.push_aux([shape.head_dim.div_ceil(4)])?;
        let scan_key = ScanBlocks {
            intervals: true,
            mask_mod: self
                .problem
                .mods
                .as_ref()
                .is_some_and(|mods| mods.text.has_mask()),
            segments: mask.segments,
            dense: mask.dense,
            tree: mask.tree,
        };
        let ScanBlocks {
            mask_mod,
            segments,
            dense,
            tree,
            ..
        } = scan_key;
        let scanned = mask_mod || segments || dense || tree;
        for rows in cut(self.blocks.clone(), matrix_rows(builder, &self.lists.grid)) {
            let params = listing(&self.params, &self.lists).with(|p| {
                p.work.tiles = rows.end - rows.start;
                p.choice.first = rows.start;
                p.choice.begin = self.blocks.start;
                p.choice.blocks = self.blocks.end - self.blocks.start;
                p.bound.at = chunks_at;
                p.choice.keep = self.select.count;
                p.choice.local = self.select.local;
            });
            let mut states = None;
            if scanned {
                let mods = self.problem.mods.as_ref();
                states = Some(scan::scan(builder, scan_key, mods, &params)?);
            }
            let ranks = matrix(builder, "scratch for block scores", &params)?;
            let mut bindings = vec![("q", q_pool), ("k", k_pool), ("ranks", ranks)];
            bindings.extend(states.map(|states| ("states", states)));
            let key = ScoreBlocks { extremes, scanned };
            self.score(builder, key, params, bindings)?;
            list(builder, ListFrom::Scores, &params, Some(ranks))?;
        }
        Ok(())
    }

    /// One pool per block and head: f32 rows of whole 4-vectors.
    fn pool(&self, builder: &mut PlanBuilder<'_>, source: &Source, of: &Pooled) -> Result<Binding> {
        let dim = self.problem.shape.head_dim;
        let blocks = u64::from(of.blocks.end - of.blocks.start);
        let chunks = u64::from(dim.div_ceil(4));
        let rows = product([self.params.sizes.batch.into(), of.heads.into()]);
        let items = product([rows, blocks, chunks]);
        let bytes = items.saturating_mul(if of.extremes { 32 } else { 16 });
        let pooled = builder.scratch(of.what, bytes)?;
        let key = Pool {
            input: Input::of(&[&source.operand], &[dim]),
            extremes: of.extremes,
        };
        // Pools are not made in parts.
        let whole = source.view.whole();
        let params = self.params.with(|p| {
            p.x = whole.rows;
            p.sizes.q_heads = of.heads;
            p.sizes.q_len = of.len;
            p.work.tiles = blocks as u32;
            p.choice.first = of.blocks.start;
            p.choice.ends_at = of.ends_at;
        });
        let bindings = vec![("x", whole.binding), ("pooled", pooled)];
        let count = u64::from(of.len).min(blocks * u64::from(self.select.side));
        let elements = product([rows, count, dim.into()]);
        let cost = Cost {
            flops: elements.saturating_mul(2),
            read_bytes: source.operand.element.bytes(elements),
            written_bytes: bytes,
            ..Cost::default()
        };
        builder.item_steps(key, params, bindings, items, cost)?;
        Ok(pooled)
    }

    fn score(
        &self,
        builder: &mut PlanBuilder<'_>,
        key: ScoreBlocks,
        params: Params,
        bindings: Bindings,
    ) -> Result<()> {
        let heads = u64::from(params.sizes.batch) * u64::from(params.sizes.q_heads);
        let quarters = |n: u32| u64::from(n.div_ceil(4));
        let items = heads * quarters(params.work.tiles) * quarters(params.lists.columns);
        let pairs = heads * u64::from(params.work.tiles) * u64::from(params.lists.columns);
        let dim = u64::from(self.problem.shape.head_dim);
        let cost = Cost {
            flops: pairs * dim * if key.extremes { 4 } else { 2 },
            read_bytes: items * 8 * dim * 4,
            written_bytes: pairs * 4,
            ..Cost::default()
        };
        builder.item_steps(key, params, bindings, items, cost)
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

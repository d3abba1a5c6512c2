// Masks that are asked pair by pair, in the tiles that the schedule visits.

import mask::block_bits;
import mask::segments;
import mask::dense;
import mask::tree;

// A dense bias and a score_mod may hide any pair, by its score: then nothing behind it may matter, in any tile.
@if(hiding_scores) const HIDING_SCORES = true;
@if(!hiding_scores) const HIDING_SCORES = false;

// Whether a tile's pairs must be asked, and where their bits lie in `aux`.
struct TileMask { partial: bool, bits: u32 }

// Of the tile where the schedule is.
fn tile_mask(tiles: KvTiles) -> TileMask {
    var mask = TileMask(false, NOWHERE);
    @if(block_bits) mask.bits = tiles.run.bits;
    @if(block_bits) mask.partial = mask.bits != NOWHERE;
    @if(marked_list) mask.partial = tiles.run.partial;
    @if(segments) mask.partial = true;
    @if(dense_mask) mask.partial = true;
    @if(asked_everywhere) mask.partial = true;
    return mask;
}

// Whether a step's pairs must be asked, those with the KEYS columns from j on.
fn is_masked(mask: TileMask, bounds: Bounds, j: u32) -> bool {
    return mask.partial || !all_visible(bounds, j, j + KEYS - 1u);
}

// The scores of a step, those that no mask hides.
fn mask_step(scores: Scores, mask: TileMask, context: RowContext, j: u32) -> Scores {
    return mask_scores(scores, mask_pairs(visible_flags(context, j), mask, context, j));
}

// Of the keys from j on that the rows see by their intervals, those that they see.
fn mask_pairs(visible: Flags, mask: TileMask, context: RowContext, j: u32) -> Flags {
    var flags = visible;
    @if(block_bits) flags = mask_block_bits(flags, mask.bits, context, j);
    @if(segments) flags = mask_segments(flags, context, j);
    @if(dense_mask) flags = mask_dense(flags, context, j);
    @if(tree) flags = mask_tree(flags, context, j);
    return flags;
}

// The same of a tile that no schedule led to (grad_bias owns every tile): whether a list names its block, too.
struct OwnedTileMask { listed: bool, partial: bool, bits: u32 }

@if(every_tile) fn tile_mask_at(b: u32, h: u32, i: u32, j: u32) -> OwnedTileMask {
    var mask = OwnedTileMask(true, false, NOWHERE);
    @if(list) let tiles = kv_tiles(b, h, i, Bounds(Interval(j, j + TILE, 0u, 0u), Interval(j, j + TILE, 0u, 0u)), 0u);
    @if(list) mask.listed = tiles.end > tiles.begin;
    @if(block_bits) if (mask.listed) { mask.bits = tiles.run.bits; }
    @if(block_bits) mask.partial = mask.bits != NOWHERE;
    @if(marked_list) if (mask.listed) { mask.partial = tiles.run.partial; }
    @if(segments) mask.partial = true;
    @if(dense_mask) mask.partial = true;
    @if(asked_everywhere) mask.partial = true;
    return mask;
}

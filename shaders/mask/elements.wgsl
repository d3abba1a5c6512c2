// Masks that are asked pair by pair, in the tiles that the schedule visits.

import mask::block_bits;
import mask::segments;

// A dense bias and a score_mod may hide any pair, by its score: then nothing behind it may matter, in any tile.
@if(hiding_scores) const HIDING_SCORES = true;
@if(!hiding_scores) const HIDING_SCORES = false;

// Whether a tile's pairs must be asked, and where their bits lie in `aux`.
struct Elements { partial: bool, bits: u32 }

// Of the tile that the walk is on.
fn tile_elements(walk: Walk) -> Elements {
    var elements = Elements(false, NOWHERE);
    @if(block_bits) elements.bits = walk.run.bits;
    @if(block_bits) elements.partial = elements.bits != NOWHERE;
    @if(marked_list) elements.partial = walk.run.partial;
    @if(segments) elements.partial = true;
    @if(asked_everywhere) elements.partial = true;
    return elements;
}

// Whether a step's pairs must be asked, those with the KEYS columns from j on.
fn is_masked(elements: Elements, bounds: Bounds, j: u32) -> bool {
    return elements.partial || !all_visible(bounds, j, j + KEYS - 1u);
}

// The scores of a step, those that no mask hides.
fn mask_step(scores: Scores, elements: Elements, place: Place, j: u32) -> Scores {
    return mask_scores(scores, mask_elements(visible_flags(place, j), elements, place, j));
}

// Of the keys from j on that the rows see by their intervals, those that they see.
fn mask_elements(visible: Flags, elements: Elements, place: Place, j: u32) -> Flags {
    var flags = visible;
    @if(block_bits) flags = mask_block_bits(flags, elements.bits, place, j);
    @if(segments) flags = mask_segments(flags, place, j);
    return flags;
}

// The same of a tile that no walk led to (grad_bias owns every tile): whether a list names its block, too.
struct TileElements { listed: bool, partial: bool, bits: u32 }

@if(every_tile) fn elements_at(b: u32, h: u32, i: u32, j: u32) -> TileElements {
    var elements = TileElements(true, false, NOWHERE);
    @if(list) let walk = walk_tiles(b, h, i, Bounds(Interval(j, j + TILE, 0u, 0u), Interval(j, j + TILE, 0u, 0u)), 0u);
    @if(list) elements.listed = walk.end > walk.begin;
    @if(block_bits) if (elements.listed) { elements.bits = walk.run.bits; }
    @if(block_bits) elements.partial = elements.bits != NOWHERE;
    @if(marked_list) if (elements.listed) { elements.partial = walk.run.partial; }
    @if(segments) elements.partial = true;
    @if(asked_everywhere) elements.partial = true;
    return elements;
}

// Masks that are asked pair by pair, in the tiles that the schedule visits.

import mask::block_bits;
import mask::segments;

// Whether a tile's pairs must be asked, and where their bits lie in `aux`.
struct Elements { partial: bool, bits: u32 }

fn tile_elements(walk: Walk, n: u32) -> Elements {
    var elements = Elements(false, NOWHERE);
    @if(block_bits) elements.bits = tile_bits(walk, n);
    @if(block_bits) elements.partial = elements.bits != NOWHERE;
    @if(segments) elements.partial = true;
    return elements;
}

// Of the keys from j on that the rows see by their intervals, those that they see.
fn mask_elements(visible: Flags, elements: Elements, place: Place, j: u32) -> Flags {
    var flags = visible;
    @if(block_bits) flags = mask_block_bits(flags, elements.bits, place, j);
    @if(segments) flags = mask_segments(flags, place, j);
    return flags;
}

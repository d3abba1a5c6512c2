// Which key tiles a tile of query rows visits: those of the blocks in its list that hold a key of the two intervals,
// `first` and the window, in rising order. Assumes that a tile, of queries as of keys, lies in one block.

// The tiles begin … end − 1 of a walk whose first `head` tiles are the list's from `head_start`, the others its from
// `start`. The list lies in `aux` from `list`.
struct Walk { begin: u32, end: u32, head: u32, head_start: u32, start: u32, list: u32 }

// What all rows from query i on of head h, the one that sees `low` to the one that sees `high`, visit; split s takes
// its share.
fn walk_tiles(b: u32, h: u32, i: u32, low: Interval, high: Interval, s: u32) -> Walk {
    let number = b * params.block_batch + h * params.block_head + i / params.block_side;
    @if(!device_list) let row = params.block_rows_at + 2u * number;
    @if(!device_list) let list = aux[row];
    @if(!device_list) let length = min(aux[row + 1u], params.block_columns);
    // A list on the device follows its length; one that it has no room for stands for every block.
    @if(device_list) let row = params.block_rows_at + (1u + params.block_capacity) * number;
    @if(device_list) let is_cut = aux[row] > params.block_capacity;
    @if(device_list) let list = select(row + 1u, EVERY_BLOCK, is_cut);
    @if(device_list) let length = select(min(aux[row], params.block_columns), params.block_columns, is_cut);
    let has_head = high.first_end > low.first_begin;
    let head_to = tiles_to(high.first_end);
    let head_start = tiles_before(list, length, low.first_begin / TILE);
    let head_end = select(head_start, max(head_start, tiles_before(list, length, head_to)), has_head);
    let next = select(low.begin / TILE, max(low.begin / TILE, head_to), has_head);
    let start = tiles_before(list, length, next);
    let end = select(start, max(start, tiles_before(list, length, tiles_to(high.end))), high.end > low.begin);
    let count = head_end - head_start + end - start;
    return Walk(split_at(count, s), split_at(count, s + 1u), head_end - head_start, head_start, start, list);
}

// The n-th block of a list.
fn listed_block(list: u32, n: u32) -> u32 {
    @if(!device_list) return aux[list + n];
    @if(device_list) return select(aux[select(list + n, 0u, list == EVERY_BLOCK)] & ~PARTIAL_BLOCK, n, list == EVERY_BLOCK);
}

@if(device_list) const EVERY_BLOCK = 0xffffffffu;
// Its pairs are to be asked of mask_mod.
@if(device_list) const PARTIAL_BLOCK = 0x80000000u;

// Tiles of the list before this one.
fn tiles_before(list: u32, length: u32, tile: u32) -> u32 {
    let per_block = params.block_side / TILE;
    let block = tile / per_block;
    var low = 0u;
    var high = length;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (listed_block(list, middle) < block) { low = middle + 1u; } else { high = middle; }
    }
    let within = low < length && listed_block(list, low) == block;
    return low * per_block + select(0u, tile % per_block, within);
}

fn tiles_to(end: u32) -> u32 {
    return (end + TILE - 1u) / TILE;
}

// The first of `count` tiles that split s takes: shares differ by one tile at the most.
fn split_at(count: u32, s: u32) -> u32 {
    return (count / params.splits) * s + min(s, count % params.splits);
}

// Where the walk's tile n stands among the tiles of the list.
fn listed_tile(walk: Walk, n: u32) -> u32 {
    return select(walk.start + n - walk.head, walk.head_start + n, n < walk.head);
}

// The first key of the walk's tile n. A block that a list should not name is the last one.
fn tile_key(walk: Walk, n: u32) -> u32 {
    let per_block = params.block_side / TILE;
    let tile = listed_tile(walk, n);
    let block = min(listed_block(walk.list, tile / per_block), params.block_columns - 1u);
    return block * params.block_side + tile % per_block * TILE;
}

// Where in `aux` the bits of the walk's tile n lie; NOWHERE for a full block's.
@if(block_bits) fn tile_bits(walk: Walk, n: u32) -> u32 {
    let listed = listed_tile(walk, n) / (params.block_side / TILE);
    let bits = aux[walk.list + params.block_tiles_from + listed];
    return select(params.block_bits_at + bits * params.block_side * bit_words(), NOWHERE, bits == NOWHERE);
}

// Whether mask_mod is to be asked of the walk's tile n.
@if(device_list) fn tile_is_partial(walk: Walk, n: u32) -> bool {
    let listed = listed_tile(walk, n) / (params.block_side / TILE);
    return walk.list == EVERY_BLOCK || (aux[walk.list + listed] & PARTIAL_BLOCK) != 0u;
}

// True when every row from the one that sees `low` to the one that sees `high` sees all keys j0 … j1, as far as
// intervals go.
fn all_visible(low: Interval, high: Interval, j0: u32, j1: u32) -> bool {
    return (j0 >= high.begin && j1 < low.end) || (j0 >= high.first_begin && j1 < low.first_end);
}

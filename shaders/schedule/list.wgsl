// Which key tiles a tile of query rows visits: those of the blocks in its list that hold a key of the two intervals,
// `first` and the window, in rising order. Assumes that a tile, of queries as of keys, lies in one block.

// The tiles begin … end − 1; from tile `head` on they are the list's from `start`, before it those of the keys
// before `first`. The list lies in `aux` from `list`; `run` is where they are.
struct KvTiles { begin: u32, end: u32, head: u32, start: Entry, list: u32, run: Run }

// The tiles in the list's block `listed`, up to `end` − 1: tile n begins at key n · TILE + `shift`.
struct Run {
    end: u32,
    shift: u32,
    listed: u32,
    // Where in `aux` the block's bits lie; NOWHERE for a full block's.
    @if(block_bits) bits: u32,
    // Whether mask_mod is to be asked of it.
    @if(device_list) partial: bool,
}

// A tile of the list: its block's number there, and its own in the block.
struct Entry { listed: u32, within: u32 }

// What all rows from query i on of head h within `bounds` visit; split s takes its share.
fn kv_tiles(b: u32, h: u32, i: u32, bounds: Bounds, s: u32) -> KvTiles {
    let low = bounds.low;
    let high = bounds.high;
    let number = b * params.lists.batch + h * params.lists.head + i / params.lists.side;
    @if(!device_list) let row = params.lists.rows_at + 2u * number;
    @if(!device_list) let list = aux[row];
    @if(!device_list) let length = min(aux[row + 1u], params.lists.columns);
    // A list on the device follows its length; one that it has no room for stands for every block.
    @if(device_list) let row = params.lists.rows_at + (1u + params.lists.capacity) * number;
    @if(device_list) let is_cut = aux[row] > params.lists.capacity;
    @if(device_list) let list = select(row + 1u, EVERY_BLOCK, is_cut);
    @if(device_list) let length = select(min(aux[row], params.lists.columns), params.lists.columns, is_cut);
    let has_head = high.first_end > low.first_begin;
    let head_to = tiles_to(high.first_end);
    let head_start = tiles_before(list, length, low.first_begin / TILE);
    let head_end = select(head_start, max(head_start, tiles_before(list, length, head_to)), has_head);
    let next = select(low.begin / TILE, max(low.begin / TILE, head_to), has_head);
    let start = tiles_before(list, length, next);
    let end = select(start, max(start, tiles_before(list, length, tiles_to(high.end))), high.end > low.begin);
    let count = head_end - head_start + end - start;
    var tiles = KvTiles();
    tiles.begin = split_at(count, s);
    tiles.end = split_at(count, s + 1u);
    tiles.head = head_end - head_start;
    tiles.start = entry(start);
    tiles.list = list;
    let first = select(start + tiles.begin - tiles.head, head_start + tiles.begin, tiles.begin < tiles.head);
    tiles.run = run_of(tiles, tiles.begin, entry(first));
    return tiles;
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
    let per_block = params.lists.side / TILE;
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

// The same at tile n, the one after that where they are or that itself. Nothing is divided here: on lavapipe gradients
// over lists of density 1 took 1.18 to 1.26 of dense with divisions in every tile, 1.13 with them in a branch that a
// block takes once, and take 0.97 to 1.11 without (N = 4096, D = 64).
fn next(tiles: KvTiles, n: u32) -> KvTiles {
    var there = tiles;
    if (n == tiles.head && n > tiles.begin) {
        there.run = run_of(tiles, n, tiles.start);
    } else if (n == tiles.run.end) {
        there.run = run_of(tiles, n, Entry(tiles.run.listed + 1u, 0u));
    }
    return there;
}

// The rest of a block from its tile `at` on, which is tile n. A block that a list should not name is the last
// one.
fn run_of(tiles: KvTiles, n: u32, at: Entry) -> Run {
    let block = min(listed_block(tiles.list, at.listed), params.lists.columns - 1u);
    var run = Run();
    run.end = n + params.lists.side / TILE - at.within;
    run.shift = block * params.lists.side + at.within * TILE - n * TILE;
    run.listed = at.listed;
    @if(block_bits) let bits = aux[tiles.list + params.lists.tiles_from + at.listed];
    @if(block_bits) run.bits = select(params.lists.bits_at + bits * params.lists.side * bit_words(), NOWHERE, bits == NOWHERE);
    @if(device_list) run.partial = tiles.list == EVERY_BLOCK || (aux[tiles.list + at.listed] & PARTIAL_BLOCK) != 0u;
    return run;
}

fn entry(tile: u32) -> Entry {
    let per_block = params.lists.side / TILE;
    return Entry(tile / per_block, tile % per_block);
}

// The first key of tile n, where the tiles are.
fn tile_key(tiles: KvTiles, n: u32) -> u32 {
    return n * TILE + tiles.run.shift;
}

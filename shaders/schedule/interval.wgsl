// Which key tiles a tile of query rows visits: those of two intervals, `first` and the window, in rising order.

// The tiles begin … end − 1; the first `head` of all lie from `head_start`, the others from `start`.
struct KvTiles { begin: u32, end: u32, head: u32, head_start: u32, start: u32 }

// What all rows within `bounds` visit; split s takes its share. Batch, head
// and first query are for schedules that depend on them.
fn kv_tiles(b: u32, h: u32, i: u32, bounds: Bounds, s: u32) -> KvTiles {
    let low = bounds.low;
    let high = bounds.high;
    let head_start = low.first_begin / TILE;
    let head_end = select(head_start, tiles_to(high.first_end), high.first_end > low.first_begin);
    let head = head_end - head_start;
    let start = select(low.begin / TILE, max(low.begin / TILE, head_end), head > 0u);
    let end = select(start, max(tiles_to(high.end), start), high.end > low.begin);
    let count = head + end - start;
    return KvTiles(split_at(count, s), split_at(count, s + 1u), head, head_start, start);
}

// The same at tile n, for schedules that read where they are.
fn next(tiles: KvTiles, n: u32) -> KvTiles {
    return tiles;
}

// The first key of tile n.
fn tile_key(tiles: KvTiles, n: u32) -> u32 {
    return TILE * select(tiles.start + n - tiles.head, tiles.head_start + n, n < tiles.head);
}

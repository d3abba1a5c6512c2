// Which key tiles a tile of query rows visits: those of two intervals, `first` and the window, in rising order.

// The tiles begin … end − 1 of a walk whose first `head` tiles lie from `head_start`, the others from `start`.
struct Walk { begin: u32, end: u32, head: u32, head_start: u32, start: u32 }

// What all rows within `bounds` visit; split s takes its share. Batch, head
// and first query are for schedules that depend on them.
fn walk_tiles(b: u32, h: u32, i: u32, bounds: Bounds, s: u32) -> Walk {
    let low = bounds.low;
    let high = bounds.high;
    let head_start = low.first_begin / TILE;
    let head_end = select(head_start, tiles_to(high.first_end), high.first_end > low.first_begin);
    let head = head_end - head_start;
    let start = select(low.begin / TILE, max(low.begin / TILE, head_end), head > 0u);
    let end = select(start, max(tiles_to(high.end), start), high.end > low.begin);
    let count = head + end - start;
    return Walk(split_at(count, s), split_at(count, s + 1u), head, head_start, start);
}

// The walk on its tile n, for schedules that read where it is.
fn walk_to(walk: Walk, n: u32) -> Walk {
    return walk;
}

// The first key of the walk's tile n.
fn tile_key(walk: Walk, n: u32) -> u32 {
    return TILE * select(walk.start + n - walk.head, walk.head_start + n, n < walk.head);
}

// The tile of rows that a workgroup owns, what is written of it in the end, and which tiles of columns it meets.

// It starts at row `start`; of the step's slice it has `first` to `last`.
struct Tile { start: u32, first: u32, last: u32 }

// The n-th tile with a row of begin … end − 1.
fn row_tile(n: u32, begin: u32, end: u32) -> Tile {
    let start = (begin / TILE_ROWS + n) * TILE_ROWS;
    return Tile(start, max(start, begin), min(start + TILE_ROWS, end) - 1u);
}

// No row of it is before row `end`: of a sequence whose length the host did not know.
fn is_past(tile: Tile, end: u32) -> bool {
    return tile.first >= end;
}

// An invocation's rows; the nearest where it has one that the tile has not.
fn rows_of(tile: Tile) -> array<u32, ROWS> {
    var rows = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) { rows[r] = clamp(tile.start + own_row(r), tile.first, tile.last); }
    return rows;
}

// Whether the invocation has row r to itself.
fn owns(tile: Tile, r: u32) -> bool {
    let row = tile.start + own_row(r);
    return row >= tile.first && row <= tile.last;
}

// What a strategy stores: factor · sum in the row that begins at element `start`, or NaN where it is marked.
struct FinishedRow { owned: bool, start: u32, factor: f32, nonfinite: u32 }

alias FinishedRows = array<FinishedRow, ROWS>;

// The rescale of sums that only grow.
fn unscaled() -> array<f32, ROWS> {
    var ones = array<f32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) { ones[r] = 1.0; }
    return ones;
}

fn or_nonfinite(x: vec4<f32>, nonfinite: u32) -> vec4<f32> {
    var nan = NAN_BITS;
    return select(x, vec4<f32>(bitcast<f32>(nan)), nonfinite != 0u);
}

// What the first and the last row of a tile see: intervals of the rows between them lie between.
struct Bounds { low: Interval, high: Interval }

// True when every row within `bounds` sees all columns j0 … j1, as far as intervals go.
fn all_visible(bounds: Bounds, j0: u32, j1: u32) -> bool {
    return (j0 >= bounds.high.begin && j1 < bounds.low.end) || (j0 >= bounds.high.first_begin && j1 < bounds.low.first_end);
}

// The tiles of columns before column `end`.
fn tiles_to(end: u32) -> u32 {
    return (end + TILE - 1u) / TILE;
}

// The first of `count` tiles that split s takes: shares differ by one tile at the most.
fn split_at(count: u32, s: u32) -> u32 {
    return (count / params.work.splits) * s + min(s, count % params.work.splits);
}

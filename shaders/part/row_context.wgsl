// What the parts of the score and the masks know of an invocation's rows: queries, whose columns are keys, or (`transposed`, in
// grad_kv) keys, whose columns are queries.
struct RowContext {
    b: u32,
    h: u32,
    rows: array<u32, ROWS>,
    // The columns that each sees, as far as intervals go.
    visible: array<Interval, ROWS>,
    @if(positions) p: array<i32, ROWS>,
    // Of which query head each is, where a tile packs the rows of several.
    @if(packed) heads: array<u32, ROWS>,
    @if(alibi) @if(!packed) slope: f32,
    @if(alibi) @if(packed) slopes: array<f32, ROWS>,
    @if(segments) segment: array<u32, ROWS>,
}

// Where positions count within a ring, in which all but the first keys have moved towards those: how far.
fn moved(b: u32) -> i32 {
    @if(!within_cache) return 0;
    @if(within_cache) return max(i32(min(aux[params.intervals.lens_at + b], params.sizes.kv_len)) - i32(params.lookup.kept), 0);
}

fn key_index(b: u32, j: u32) -> i32 {
    @if(!within_cache) return i32(j);
    @if(within_cache) return i32(j) - select(moved(b), 0, j < params.lookup.first);
}

// The position of query i; of the last one beyond the end.
fn query_position(b: u32, i: u32) -> i32 {
    @if(q_positions) return bitcast<i32>(aux[params.positions.q_at + query_token(b, i)]);
    @if(!q_positions) return diagonal(b, i) - moved(b);
}

// The position of key j; of the last one beyond the end.
fn key_position(b: u32, j: u32) -> i32 {
    @if(k_positions) return bitcast<i32>(aux[params.positions.k_at + key_token(b, j)]);
    @if(!k_positions) return key_index(b, j);
}

fn row_position(b: u32, n: u32) -> i32 {
    @if(transposed) return key_position(b, n);
    @if(!transposed) return query_position(b, n);
}

fn column_position(b: u32, n: u32) -> i32 {
    @if(transposed) return query_position(b, n);
    @if(!transposed) return key_position(b, n);
}

fn row_interval(b: u32, n: u32) -> Interval {
    @if(transposed) return visible_queries(b, n);
    @if(!transposed) return visible_keys(b, n);
}

// The query that row n of a tile is of: a tile that packs heads has the rows of one query side by side.
fn row_query(n: u32) -> u32 {
    @if(!packed) return n;
    @if(packed) return n / params.work.packed;
}

// The query head of row r.
fn row_head(context: RowContext, r: u32) -> u32 {
    @if(!packed) return context.h;
    @if(packed) return context.heads[r];
}

@if(alibi) fn alibi_slope(context: RowContext, r: u32) -> f32 {
    @if(!packed) return context.slope;
    @if(packed) return context.slopes[r];
}

// Of tile rows of head h, or of those of the heads packed from h on.
fn row_context(b: u32, h: u32, tile_rows: array<u32, ROWS>) -> RowContext {
    var rows = tile_rows;
    @if(packed) @unroll for (var r = 0u; r < ROWS; r++) { rows[r] = row_query(tile_rows[r]); }
    var context = RowContext();
    context.b = b;
    context.h = h;
    context.rows = rows;
    @if(packed) @unroll for (var r = 0u; r < ROWS; r++) { context.heads[r] = h + tile_rows[r] % params.work.packed; }
    @unroll for (var r = 0u; r < ROWS; r++) { context.visible[r] = row_interval(b, rows[r]); }
    @if(positions) @unroll for (var r = 0u; r < ROWS; r++) { context.p[r] = row_position(b, rows[r]); }
    @if(alibi) @if(!packed) context.slope = head_slope(b, h);
    @if(alibi) @if(packed) @unroll for (var r = 0u; r < ROWS; r++) { context.slopes[r] = head_slope(b, context.heads[r]); }
    @if(segments) @unroll for (var r = 0u; r < ROWS; r++) { context.segment[r] = row_segment(b, rows[r]); }
    return context;
}

// The same rows for another query head.
@if(transposed) fn with_head(context: RowContext, h: u32) -> RowContext {
    var there = context;
    there.h = h;
    @if(alibi) there.slope = head_slope(context.b, h);
    return there;
}

// scale · τ of query i: the factor on its q.
fn query_scale(b: u32, i: u32) -> f32 {
    @if(!temperature) return params.score.scale;
    @if(temperature) let steps = u32(max(query_position(b, i) + i32(params.score.temperature_offset), 0)) / params.score.temperature_floor;
    @if(temperature) return params.score.scale * (1.0 + params.score.temperature_scale * log(1.0 + f32(steps)));
}

// Which operands meet where an invocation's rows are queries: q and, in gradients, dO; what is streamed past them are
// the keys and values of their KV head.

struct OwnRow {
    q: u32,
    rotation: u32,
    scale: f32,
    @if(gradient) d_o: u32,
}

alias OwnRows = array<OwnRow, ROWS>;

fn own_rows(context: RowContext) -> OwnRows {
    var own = OwnRows();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = context.rows[r];
        own[r].q = q_row(q_place(context.b, row_head(context, r)), i);
        own[r].rotation = query_rotation(context.b, i);
        own[r].scale = query_scale(context.b, i);
        @if(gradient) own[r].d_o = d_o_row(d_o_place(context.b, row_head(context, r)), i);
    }
    return own;
}

fn head_of_own(row: OwnRow, chunk: u32) -> Chunk { return scaled(q_load(row.q, chunk, row.rotation), row.scale); }
@if(gradient) fn value_of_own(row: OwnRow, chunk: u32) -> Chunk { return d_o_load(row.d_o, chunk); }

// The keys and values of a batch and KV head.
struct Stream { b: u32, k: KPlace, v: VPlace }

// Those of a query head.
fn stream_of(b: u32, h: u32) -> Stream {
    let kv_head = h / params.sizes.group;
    return Stream(b, k_place(b, kv_head), v_place(b, kv_head));
}

fn streamed_len() -> u32 { return params.sizes.kv_len; }

struct StreamedRow { k: u32, rotation: u32, v: u32 }

fn streamed_row(stream: Stream, j: u32) -> StreamedRow {
    return StreamedRow(k_row(stream.k, j), key_rotation(stream.b, j), v_row(stream.v, j));
}

fn head_of_streamed(row: StreamedRow, chunk: u32) -> Chunk { return k_load(row.k, chunk, row.rotation); }
fn value_of_streamed(row: StreamedRow, chunk: u32) -> Chunk { return v_load(row.v, chunk); }

// The row that the invocation with column c has.
@if(looked_up) fn row_of_column(own: StreamedRow, c: u32) -> StreamedRow {
    return StreamedRow(word_of_column(own.k, c), word_of_column(own.rotation, c), word_of_column(own.v, c));
}

// The factors on rows whose chunks come without.
@if(head_bare) fn head_scale(row: StreamedRow) -> f32 { return k_scale(row.k); }
@if(value_bare) fn value_scale(row: StreamedRow) -> f32 { return v_scale(row.v); }

// The rows of the rotary table for query i and key j; 0 where nothing is rotated.
fn query_rotation(b: u32, i: u32) -> u32 {
    @if(!rotary) return 0u;
    @if(rotary) @if(q_positions) return table_row(bitcast<i32>(aux[params.rotation.q_at + query_token(b, i)]));
    @if(rotary) @if(!q_positions) return table_row(diagonal(b, i) - moved(b));
}

fn key_rotation(b: u32, j: u32) -> u32 {
    @if(!rotary) return 0u;
    @if(rotary) @if(k_positions) return table_row(bitcast<i32>(aux[params.rotation.k_at + key_token(b, j)])) + params.rotation.key_at;
    @if(rotary) @if(!k_positions) return table_row(key_index(b, j)) + params.rotation.key_at;
}

// What the first and the last query of a tile see.
fn query_bounds(b: u32, tile: Tile) -> Bounds {
    @if(!tree) return Bounds(visible_keys(b, row_query(tile.first)), visible_keys(b, row_query(tile.last)));
    @if(tree) return Bounds(before_tree(b, visible_keys(b, row_query(tile.first))), visible_keys(b, row_query(tile.last)));
}

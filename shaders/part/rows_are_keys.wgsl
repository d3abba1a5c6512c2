// Which operands meet where an invocation's rows are keys: k and v; what is streamed past them are q and dO of a query
// head of their group.

struct OwnRow { k: u32, v: u32 }

alias OwnRows = array<OwnRow, ROWS>;

fn own_rows(b: u32, kv_head: u32, rows: array<u32, ROWS>) -> OwnRows {
    var own = OwnRows();
    let k_at = k_place(b, kv_head);
    let v_at = v_place(b, kv_head);
    @unroll for (var r = 0u; r < ROWS; r++) { own[r] = OwnRow(k_row(k_at, rows[r]), v_row(v_at, rows[r])); }
    return own;
}

fn head_of_own(row: OwnRow, chunk: u32) -> Chunk { return k_load(row.k, chunk, 0u); }
fn value_of_own(row: OwnRow, chunk: u32) -> Chunk { return v_load(row.v, chunk); }

// Queries and their gradients of a batch and head, and (lse, Δ).
struct Stream { b: u32, q: QPlace, d_o: DOPlace, stats: StatsPlace }

fn stream_of(b: u32, h: u32) -> Stream {
    return Stream(b, q_place(b, h), d_o_place(b, h), stats_place(b, h));
}

fn streamed_len() -> u32 { return params.sizes.q_len; }

struct StreamedRow { q: u32, scale: f32, d_o: u32 }

fn streamed_row(stream: Stream, i: u32) -> StreamedRow {
    return StreamedRow(q_row(stream.q, i), query_scale(stream.b, i), d_o_row(stream.d_o, i));
}

fn head_of_streamed(row: StreamedRow, chunk: u32) -> Chunk { return scaled(q_load(row.q, chunk, 0u), row.scale); }
fn value_of_streamed(row: StreamedRow, chunk: u32) -> Chunk { return d_o_load(row.d_o, chunk); }

fn streamed_stats(stream: Stream, i: u32) -> vec2<f32> {
    return stats[stats_row(stream.stats, i)];
}

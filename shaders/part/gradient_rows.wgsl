// The rows of queries that a gradient kernel owns, and how it reads v and dO.

fn load_queries(b: u32, h: u32, rows: array<u32, ROWS>, scales: array<f32, ROWS>, chunk: u32) -> Column {
    var column = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { column[r] = scaled(q_load(row_start(params.q, b, h, rows[r]), chunk, 0u), scales[r]); }
    return column;
}

fn load_output_gradients(b: u32, h: u32, rows: array<u32, ROWS>, chunk: u32) -> Column {
    var column = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { column[r] = d_o_load(row_start(params.d_o, b, h, rows[r]), chunk); }
    return column;
}

// The chunks that a lane holds of a key and of its value.
@if(rolled) fn chunks_of_key(row: u32, part: u32) -> array<Chunk, CHUNKS> {
    var keys = array<Chunk, CHUNKS>();
    @unroll for (var d = 0u; d < CHUNKS; d++) { keys[d] = k_load(row, d * LANES + part, 0u); }
    return keys;
}

@if(rolled) fn chunks_of_value(row: u32, part: u32) -> array<Chunk, VALUE_CHUNKS> {
    var values = array<Chunk, VALUE_CHUNKS>();
    @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { values[d] = v_load(row, d * LANES + part); }
    return values;
}

fn v_load(row: u32, chunk: u32) -> Chunk {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return Chunk(); }
    return loaded(v_chunk(row, chunk));
}

fn d_o_load(row: u32, chunk: u32) -> Chunk {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return Chunk(); }
    return loaded(d_o_chunk(row, chunk));
}

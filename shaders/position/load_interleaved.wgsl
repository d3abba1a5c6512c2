// Rows turned as they are loaded, interleaved layout: rotary channels 2i and 2i + 1 pair. `turn` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> Chunk {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return Chunk(); }
    let x = loaded(tensor_chunk(row, chunk));
    // Before the first rotary chunk this wraps beyond the last.
    let c = chunk - params.rotary_start / CHUNK;
    if (c >= params.rotary_dim / CHUNK) { return x; }
    return turned(x, neighbours(x), neighbour_turns(turn + CHUNK / 2u * c));
}

// Rows turned as they are loaded, interleaved layout: channels 2i and 2i + 1 pair. `turn` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> Chunk {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return Chunk(); }
    let x = loaded(tensor_chunk(row, chunk));
    if (CHUNK * chunk >= params.rotary_dim) { return x; }
    let at = turn + CHUNK / 2u * chunk;
    var turned: Chunk;
    @unroll for (var n = 0u; n < QUADS; n++) { turned[n] = turn_interleaved(x[n], at + 2u * n); }
    return turned;
}

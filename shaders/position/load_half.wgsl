// Rows turned as they are loaded, half layout: channel c pairs with c + d/2. `turn` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> Chunk {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return Chunk(); }
    let x = tensor_chunk(row, chunk);
    if (CHUNK * chunk >= params.rotary_dim) { return x; }
    let half = params.rotary_dim / (2u * CHUNK);
    let is_first = chunk < half;
    let y = tensor_chunk(row, select(chunk - half, chunk + half, is_first));
    let at = turn + CHUNK * select(chunk - half, chunk, is_first);
    let sign = select(1.0, -1.0, is_first);
    @if(!wide) return turn_half(x, sign * y, at);
    @if(wide) return Chunk(turn_half(x[0], sign * y[0], at), turn_half(x[1], sign * y[1], at + 4u));
}

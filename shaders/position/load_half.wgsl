// Rows rotated as they are loaded, half layout: channel c pairs with c + d/2. `rotation` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(head_ragged) if (chunk >= HEAD_ALL_CHUNKS) { return Chunk(); }
    let x = loaded(tensor_chunk(row, chunk));
    if (CHUNK * chunk >= params.rotary_dim) { return x; }
    let half = params.rotary_dim / (2u * CHUNK);
    let is_first = chunk < half;
    let y = loaded(tensor_chunk(row, select(chunk - half, chunk + half, is_first)));
    let at = rotation + CHUNK * select(chunk - half, chunk, is_first);
    return rotated(x, scaled(y, select(1.0, -1.0, is_first)), half_rotations(at));
}

// Rows rotated as they are loaded, half layout: of the rotary channels c pairs with c + d/2. `rotation` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(head_ragged) if (chunk >= HEAD_ALL_CHUNKS) { return Chunk(); }
    let x = loaded(tensor_chunk(row, chunk));
    // Before the first rotary chunk this wraps beyond the last.
    let c = chunk - params.rotation.first / CHUNK;
    let half = params.rotation.dim / (2u * CHUNK);
    if (c >= 2u * half) { return x; }
    let is_first = c < half;
    let y = loaded(tensor_chunk(row, select(chunk - half, chunk + half, is_first)));
    let at = rotation + CHUNK * select(c - half, c, is_first);
    return rotated(x, scaled(y, select(1.0, -1.0, is_first)), half_rotations(at));
}

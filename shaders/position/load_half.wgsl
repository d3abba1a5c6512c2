// Rows rotated as they are loaded, half layout: of the rotary channels c pairs with c + d/2. `rotation` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(!head_ragged) let x = loaded(tensor_chunk(row, chunk));
    @if(head_ragged) let x = within(loaded(tensor_chunk(row, min(chunk, HEAD_ALL_CHUNKS - 1u))), chunk < HEAD_ALL_CHUNKS);
    let half = params.rotation.dim / (2u * CHUNK);
    // Before the first rotary chunk this wraps beyond the last.
    let rotary = chunk - params.rotation.first / CHUNK;
    let c = min(rotary, 2u * half - 1u);
    let is_first = c < half;
    let other = select(c - half, c + half, is_first) + params.rotation.first / CHUNK;
    let y = loaded(tensor_chunk(row, other));
    let at = rotation + CHUNK * select(c - half, c, is_first);
    return select_chunk(x, rotated(x, scaled(y, select(1.0, -1.0, is_first)), half_rotations(at)), rotary < 2u * half);
}

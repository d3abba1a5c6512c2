// Rows rotated as they are loaded, interleaved layout: rotary channels 2i and 2i + 1 pair. `rotation` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(head_ragged) if (chunk >= HEAD_ALL_CHUNKS) { return Chunk(); }
    let x = loaded(tensor_chunk(row, chunk));
    // Before the first rotary chunk this wraps beyond the last.
    let c = chunk - params.rotation.first / CHUNK;
    if (c >= params.rotation.dim / CHUNK) { return x; }
    return rotated(x, neighbours(x), neighbour_rotations(rotation + CHUNK / 2u * c));
}

// Rows rotated as they are loaded, interleaved layout: rotary channels 2i and 2i + 1 pair. `rotation` is the row's first pair.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(!head_ragged) let x = loaded(tensor_chunk(row, chunk));
    @if(head_ragged) let x = within(loaded(tensor_chunk(row, min(chunk, HEAD_ALL_CHUNKS - 1u))), chunk < HEAD_ALL_CHUNKS);
    // Before the first rotary chunk this wraps beyond the last.
    let c = chunk - params.rotation.first / CHUNK;
    let chunks = params.rotation.dim / CHUNK;
    let at = rotation + CHUNK / 2u * min(c, chunks - 1u);
    return select_chunk(x, rotated(x, neighbours(x), neighbour_rotations(at)), c < chunks);
}

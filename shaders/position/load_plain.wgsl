// Rows as they are; `turn` is not looked at.

fn tensor_load(row: u32, chunk: u32, turn: u32) -> Chunk {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return Chunk(); }
    return loaded(tensor_chunk(row, chunk));
}

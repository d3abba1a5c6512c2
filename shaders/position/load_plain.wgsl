// Rows as they are; `rotation` is not looked at.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(head_ragged) if (chunk >= HEAD_ALL_CHUNKS) { return Chunk(); }
    return loaded(tensor_chunk(row, chunk));
}

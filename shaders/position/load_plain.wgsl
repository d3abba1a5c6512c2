// Rows as they are; `rotation` is not looked at.

fn tensor_load(row: u32, chunk: u32, rotation: u32) -> Chunk {
    @if(!head_ragged) return loaded(tensor_chunk(row, chunk));
    @if(head_ragged) return within(loaded(tensor_chunk(row, min(chunk, HEAD_ALL_CHUNKS - 1u))), chunk < HEAD_ALL_CHUNKS);
}

// Rows of as many channels as a value has, as they are.

fn tensor_load(row: u32, chunk: u32) -> Chunk {
    @if(value_ragged) if (chunk >= VALUE_ALL_CHUNKS) { return Chunk(); }
    return loaded(tensor_chunk(row, chunk));
}

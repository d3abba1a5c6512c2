// Rows of as many channels as a value has, as they are.

fn tensor_load(row: u32, chunk: u32) -> Chunk {
    @if(!value_ragged) return loaded(tensor_chunk(row, chunk));
    @if(value_ragged) return within(loaded(tensor_chunk(row, min(chunk, VALUE_ALL_CHUNKS - 1u))), chunk < VALUE_ALL_CHUNKS);
}

// Input rows of signed bytes that have a multiple of eight channels, without their scale: a strategy that reads a row's scale
// once multiplies by it.

alias tensor_word = u32;

// Channels 8·chunk … 8·chunk + 7 of the row that starts at element `row`, over its scale.
fn tensor_chunk(row: u32, chunk: u32) -> Chunk {
    return Chunk(tensor_bytes(row, 2u * chunk), tensor_bytes(row, 2u * chunk + 1u));
}

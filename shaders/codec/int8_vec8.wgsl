// Input rows of signed bytes that have a multiple of eight channels, two words at a time: they need not begin at 64 bits.

alias tensor_word = u32;

// Channels 8·chunk … 8·chunk + 7 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> Chunk {
    let scale = tensor_scale(row);
    return Chunk(scale * tensor_bytes(row, 2u * chunk), scale * tensor_bytes(row, 2u * chunk + 1u));
}

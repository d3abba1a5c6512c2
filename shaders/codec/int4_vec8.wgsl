// Input rows of half bytes that have a multiple of eight channels, a word at a time.

alias tensor_word = u32;

// Channels 8·chunk … 8·chunk + 7 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> Chunk {
    let group = tensor_group(row, 8u * chunk);
    let scales = tensor[group];
    let word = tensor[group + 1u + chunk % 4u];
    return Chunk(tensor_four(scales, word), tensor_four(scales, word >> 16u));
}

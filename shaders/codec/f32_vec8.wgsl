// Input rows of f32 that start at multiples of eight elements, read 64 bits at a time.

alias tensor_word = vec4<u64>;

// Channels 8·chunk … 8·chunk + 7 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> Chunk {
    return unstaged(tensor[row / 8u + chunk]);
}

// Input rows of 16-bit numbers that start at multiples of four elements, read 64 bits at a time.

alias tensor_word = u64;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let words = tensor[row / 4u + chunk];
    return vec4<f32>(tensor_unpack(u32(words)), tensor_unpack(u32(words >> 32u)));
}

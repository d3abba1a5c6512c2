// Input rows of 16-bit numbers that start at multiples of four elements.

alias tensor_word = vec2<u32>;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let words = tensor[row / 4u + chunk];
    return vec4<f32>(tensor_unpack(words.x), tensor_unpack(words.y));
}

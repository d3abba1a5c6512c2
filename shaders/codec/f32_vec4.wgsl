// Input rows of f32 that start at multiples of four elements.

alias tensor_word = vec4<f32>;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    return tensor[row / 4u + chunk];
}

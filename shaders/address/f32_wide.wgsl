// Input rows of f32 that start at multiples of four elements, read 64 bits at a time.

alias tensor_word = vec2<u64>;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(narrow(tensor[row / 4u + chunk]));
}

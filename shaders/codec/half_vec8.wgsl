// Input rows of 16-bit numbers that start at multiples of eight elements, read 64 bits at a time.

alias tensor_word = vec2<u64>;

// Channels 8·chunk … 8·chunk + 7 of the row that starts at element `row`.
fn tensor_chunk(row: u32, chunk: u32) -> Chunk {
    let words = tensor[row / 8u + chunk];
    return Chunk(tensor_four(halves(words.x)), tensor_four(halves(words.y)));
}

fn tensor_four(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(tensor_unpack(words.x), tensor_unpack(words.y));
}

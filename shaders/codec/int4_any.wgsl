// Input rows of half bytes that end anywhere.

alias tensor_word = u32;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`; 0 past its end, whatever its minimum.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let c = vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(), tensor_channels(row, chunk), c < vec4<u32>(tensor_dim()));
}

// Input rows of signed bytes that end anywhere, without their scale: a strategy that reads a row's scale once multiplies by it.

alias tensor_word = u32;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`, over its scale; 0 past its end.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let c = vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(), tensor_bytes(row, chunk), c < vec4<u32>(tensor_dim()));
}

// Input rows of f32 that start anywhere and end anywhere.

alias tensor_word = f32;

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`; 0 past its end.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let last = tensor_dim() - 1u;
    let c = vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = vec4<u32>(row) + min(c, vec4<u32>(last));
    let x = vec4<f32>(tensor[at.x], tensor[at.y], tensor[at.z], tensor[at.w]);
    return select(vec4<f32>(), x, c <= vec4<u32>(last));
}

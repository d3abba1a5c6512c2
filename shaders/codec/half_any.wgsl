// Input rows of 16-bit numbers that start anywhere and end anywhere.

alias tensor_word = u32;

fn tensor_element(at: u32) -> f32 {
    let pair = tensor_unpack(tensor[at / 2u]);
    return select(pair.x, pair.y, at % 2u == 1u);
}

// Channels 4·chunk … 4·chunk + 3 of the row that starts at element `row`; 0 past its end.
fn tensor_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let last = tensor_dim() - 1u;
    let c = vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = vec4<u32>(row) + min(c, vec4<u32>(last));
    let x = vec4<f32>(tensor_element(at.x), tensor_element(at.y), tensor_element(at.z), tensor_element(at.w));
    return select(vec4<f32>(), x, c <= vec4<u32>(last));
}

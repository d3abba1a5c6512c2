// Rows of half bytes, by groups of 32 channels of five words each: scale and minimum as f16, then eight channels per word.

// The word where the group of `channel` begins in the row that begins at element `row`.
fn tensor_group(row: u32, channel: u32) -> u32 {
    return row / 8u + channel / 32u * 5u;
}

// The four lowest half bytes of `word`, of a group whose first word is `scales`.
fn tensor_four(scales: u32, word: u32) -> vec4<f32> {
    let numbers = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    let scale = unpack2x16float(scales);
    return vec4<f32>(scale.y) + scale.x * vec4<f32>(numbers);
}

// Channels 4·chunk … 4·chunk + 3.
fn tensor_channels(row: u32, chunk: u32) -> vec4<f32> {
    let group = tensor_group(row, 4u * chunk);
    let word = tensor[group + 1u + chunk / 2u % 4u];
    return tensor_four(tensor[group], word >> (16u * (chunk % 2u)));
}

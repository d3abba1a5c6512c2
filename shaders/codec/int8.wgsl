// Rows of signed bytes: a word with the row's scale, then four channels per word.

// Of the row that begins at element `row`.
fn tensor_scale(row: u32) -> f32 {
    return bitcast<f32>(tensor[row / 4u]);
}

// The four channels of word n of the row.
fn tensor_bytes(row: u32, n: u32) -> vec4<f32> {
    let word = bitcast<i32>(tensor[row / 4u + 1u + n]);
    // To the top, and down again with the sign.
    return vec4<f32>((vec4<i32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

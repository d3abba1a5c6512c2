// bf16 in pairs: the upper half of an f32.

fn tensor_unpack(word: u32) -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
}

// Rounds to nearest, ties to even; a NaN stays one.
fn tensor_round(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let rounded = (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
    let is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return select(rounded, (bits >> 16u) | 0x40u, is_nan);
}

fn tensor_pack(x: vec2<f32>) -> u32 {
    return tensor_round(x.x) | (tensor_round(x.y) << 16u);
}

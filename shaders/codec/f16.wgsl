// f16 in pairs, without the device's f16 feature.

fn tensor_unpack(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}

// The nearest f16, ties to even, as f32: WGSL leaves the rounding of pack2x16float open, and one driver truncates.
fn tensor_round(x: vec2<f32>) -> vec2<f32> {
    let bits = bitcast<vec2<u32>>(x);
    let rounded = (bits + vec2<u32>(0xfffu) + ((bits >> vec2<u32>(13u)) & vec2<u32>(1u))) & vec2<u32>(0xffffe000u);
    // Below 2⁻¹⁴ the numbers of f16 are 2⁻²⁴ apart, as those of f32 are beside 0.75.
    let tiny = (x + vec2<f32>(0.75)) - vec2<f32>(0.75);
    let finite = (bits & vec2<u32>(0x7fffffffu)) < vec2<u32>(0x7f800000u);
    return select(x, select(bitcast<vec2<f32>>(rounded), tiny, abs(x) < vec2<f32>(6.103515625e-5)), finite);
}

// A half at a time: one driver lets a NaN spill into the other half of its word.
fn tensor_pack(x: vec2<f32>) -> u32 {
    let rounded = tensor_round(x);
    let low = pack2x16float(vec2<f32>(rounded.x, 0.0)) & 0xffffu;
    return low | (pack2x16float(vec2<f32>(rounded.y, 0.0)) << 16u);
}

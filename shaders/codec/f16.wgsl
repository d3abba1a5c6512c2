// f16 in pairs, without the device's f16 feature.

fn tensor_unpack(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}

// Rounds to nearest, ties to even; what is too large becomes ±∞, and a NaN stays one. By bits, for pack2x16float may
// truncate, makes a NaN of ∞ on one driver and lets one spill into the other half of its word on another.
fn tensor_round(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    // The exponents of f32 are biased by 112 more.
    let normal = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
    // Below 2⁻¹⁴ the numbers of f16 are 2⁻²⁴ apart. Not by adding 0.75 and taking it away again: drivers leave out both.
    let tiny = u32(round(min(abs(x), 1.0) * 16777216.0));
    let finite = select(min(normal, 0x7c00u), tiny, size < 0x38800000u);
    return ((bits >> 16u) & 0x8000u) | select(finite, 0x7e00u, size > 0x7f800000u);
}

fn tensor_pack(x: vec2<f32>) -> u32 {
    return tensor_round(x.x) | (tensor_round(x.y) << 16u);
}

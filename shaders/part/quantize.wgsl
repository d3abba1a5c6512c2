// Numbers to bytes and half bytes, as src/quantize.rs makes them.

import part::numbers;
import codec::f16 for half;

// Below this a scale of bytes is 0: drivers may take smaller numbers for it.
const LEAST_SCALE = 1.17549435e-38;
// The bits of the largest number of f16, 65504.
const LARGEST_HALF = 0x477fe000u;

fn least_of(x: vec4<f32>) -> f32 { return min(min(x.x, x.y), min(x.z, x.w)); }
fn largest_of(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

// True for a number beyond f16, an infinity or a NaN, by bits.
fn any_beyond_half(x: vec4<f32>) -> bool {
    return any((bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(LARGEST_HALF));
}

// Of a scale that may be 0.
fn inverse_of(scale: f32) -> f32 {
    return select(0.0, 1.0 / max(scale, LEAST_SCALE), scale > 0.0);
}

// The scale of signed bytes up to `largest`.
fn byte_scale(largest: f32) -> f32 {
    let scale = largest * (1.0 / 127.0);
    return select(scale, 0.0, scale < LEAST_SCALE);
}

// Four numbers as signed bytes.
fn bytes_of(x: vec4<f32>, inverse: f32) -> u32 {
    let n = vec4<i32>(clamp(round(x * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
    let bytes = (bitcast<vec4<u32>>(n) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
    return bytes.x | bytes.y | bytes.z | bytes.w;
}

// Scale and minimum of half bytes from `least` to `largest`, as the word that is stored.
fn half_byte_scales(least: f32, largest: f32) -> u32 {
    return half_pack(vec2<f32>((largest - least) * (1.0 / 15.0), least));
}

// Four numbers as half bytes, in the low 16 bits.
fn half_bytes_of(x: vec4<f32>, minimum: f32, inverse: f32) -> u32 {
    let n = vec4<u32>(clamp(round((x - vec4<f32>(minimum)) * inverse), vec4<f32>(), vec4<f32>(15.0)));
    let bits = n << vec4<u32>(0u, 4u, 8u, 12u);
    return bits.x | bits.y | bits.z | bits.w;
}

// Four words as two of 64 bits. Software adapters load a lane and a component at a time, whatever its width.

fn narrow(x: vec2<u64>) -> vec4<u32> {
    return vec4<u32>(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u));
}

fn widen(x: vec4<u32>) -> vec2<u64> {
    return vec2<u64>(u64(x.x) | (u64(x.y) << 32u), u64(x.z) | (u64(x.w) << 32u));
}

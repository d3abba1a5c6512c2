// Cosines and sines [position][pair], computed by the host: WGSL promises its own to 2⁻¹¹ only, and no range.

// The first pair of a position's table row; a position beyond the table gets its nearest row.
fn table_row(position: i32) -> u32 {
    let end = params.table_start + i32(params.table_rows) - 1;
    // Clamped before the difference, which could leave i32.
    let row = clamp(position, params.table_start, end) - params.table_start;
    return u32(row) * params.table_stride;
}

struct Turns { cosine: vec4<f32>, sine: vec4<f32> }

// Pairs at … at + 3; `at` is even.
fn turns(at: u32) -> Turns {
    let low = table[at / 2u];
    let high = table[at / 2u + 1u];
    return Turns(vec4<f32>(low.xz, high.xz), params.table_sine * vec4<f32>(low.yw, high.yw));
}

// Four channels of the half layout, whose partners are y, negated for those of the first half.
fn turn_half(x: vec4<f32>, y: vec4<f32>, at: u32) -> vec4<f32> {
    let t = turns(at);
    return x * t.cosine + y * t.sine;
}

// Two neighbouring pairs of the interleaved layout.
fn turn_interleaved(x: vec4<f32>, at: u32) -> vec4<f32> {
    let pairs = table[at / 2u];
    let sine = params.table_sine * pairs.yyww * vec4<f32>(-1.0, 1.0, -1.0, 1.0);
    return x * pairs.xxzz + x.yxwz * sine;
}

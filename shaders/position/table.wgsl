// Cosines and sines [position][pair], computed by the host: WGSL promises its own to 2⁻¹¹ only, and no range. A word of
// the table is a chunk: CHUNK / 2 pairs.

// The first pair of a position's table row; a position beyond the table gets its nearest row.
fn table_row(position: i32) -> u32 {
    let end = params.rotation.start + i32(params.rotation.rows) - 1;
    // Clamped before the difference, which could leave i32.
    let row = clamp(position, params.rotation.start, end) - params.rotation.start;
    return u32(row) * params.rotation.stride;
}

// What a chunk's channels and their partners are multiplied by.
struct Rotations { cosine: Chunk, sine: Chunk }

fn rotated(x: Chunk, partner: Chunk, t: Rotations) -> Chunk {
    var y = Chunk();
    @unroll for (var n = 0u; n < VEC4S; n++) { y[n] = x[n] * t.cosine[n] + partner[n] * t.sine[n]; }
    return y;
}

// Half layout: the CHUNK pairs from `at` on, a whole number of words. Partners of the first half are to be negated.
fn half_rotations(at: u32) -> Rotations {
    let low = unstaged(table[at / (CHUNK / 2u)]);
    let high = unstaged(table[at / (CHUNK / 2u) + 1u]);
    var pairs = array<vec4<f32>, 2 * VEC4S>();
    @unroll for (var n = 0u; n < VEC4S; n++) {
        pairs[n] = low[n];
        pairs[n + VEC4S] = high[n];
    }
    var t = Rotations();
    @unroll for (var n = 0u; n < VEC4S; n++) {
        t.cosine[n] = vec4<f32>(pairs[2u * n].xz, pairs[2u * n + 1u].xz);
        t.sine[n] = params.rotation.sine * vec4<f32>(pairs[2u * n].yw, pairs[2u * n + 1u].yw);
    }
    return t;
}

// Interleaved layout: the CHUNK / 2 pairs from `at` on, one word, for channels whose partners are their neighbours.
fn neighbour_rotations(at: u32) -> Rotations {
    let pairs = unstaged(table[at / (CHUNK / 2u)]);
    var t = Rotations();
    @unroll for (var n = 0u; n < VEC4S; n++) {
        t.cosine[n] = pairs[n].xxzz;
        t.sine[n] = params.rotation.sine * pairs[n].yyww * vec4<f32>(-1.0, 1.0, -1.0, 1.0);
    }
    return t;
}

fn neighbours(x: Chunk) -> Chunk {
    var y = Chunk();
    @unroll for (var n = 0u; n < VEC4S; n++) { y[n] = x[n].yxwz; }
    return y;
}

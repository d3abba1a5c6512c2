// O = P V for some heads.
//
// An invocation keeps a tile of queries × channels in registers, as blocks of 4 × 4. A line with {r} or {c} stands for
// one line for each block row or column (naive/blocks.rs).

override Q_LEN: u32;
override KV_LEN: u32;
override DIM4: u32;     // Dv / 4

@group(0) @binding(0) var<storage, read> p: array<vec4<f32>>;         // [heads, Nq, Nk]
@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;         // [heads, Nk, Dv]
@group(0) @binding(2) var<storage, read_write> o: array<vec4<f32>>;   // [heads, Nq, Dv]

@compute @workgroup_size(4, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.z * Q_LEN + id.y * 4 * ROWS;
    let p_first = row * (KV_LEN / 4);
    let v_first = id.z * KV_LEN * DIM4 + id.x * COLUMNS;
    var o{r}{c} = mat4x4<f32>();
    for (var key = 0u; key < KV_LEN / 4; key++) {
        let p{r} = p_rows(p_first + key + {r} * KV_LEN);
        let v{c} = v_rows(v_first + key * 4 * DIM4 + {c});
        o{r}{c} += v{c} * p{r};
    }
    let first = row * DIM4 + id.x * COLUMNS;
    write(first + {r} * 4 * DIM4 + {c}, o{r}{c});
}

// Four keys of four queries, a column per query.
fn p_rows(at: u32) -> mat4x4<f32> {
    return mat4x4(p[at], p[at + KV_LEN / 4], p[at + 2 * (KV_LEN / 4)], p[at + 3 * (KV_LEN / 4)]);
}

// Four channels of four keys, a column per key.
fn v_rows(at: u32) -> mat4x4<f32> {
    return mat4x4(v[at], v[at + DIM4], v[at + 2 * DIM4], v[at + 3 * DIM4]);
}

// Column i of the block is query i, with four channels.
fn write(at: u32, block: mat4x4<f32>) {
    o[at] = block[0];
    o[at + DIM4] = block[1];
    o[at + 2 * DIM4] = block[2];
    o[at + 3 * DIM4] = block[3];
}

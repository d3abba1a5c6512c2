// S = scale · Q Kᵀ for some heads, written to memory.
//
// An invocation keeps a tile of queries × keys in registers, as blocks of 4 × 4. A line with {r} or {c} stands for one
// line for each block row or column (naive/blocks.rs).

override Q_LEN: u32;
override KV_LEN: u32;
override DIM4: u32;     // D / 4
override SCALE: f32;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;              // [heads, Nq, D]
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;              // [heads, Nk, D]
@group(0) @binding(2) var<storage, read_write> scores: array<vec4<f32>>;   // [heads, Nq, Nk]

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let q_first = (id.z * Q_LEN + id.y * 4 * ROWS) * DIM4;
    let k_first = (id.z * KV_LEN + id.x * 4 * COLUMNS) * DIM4;
    var s{r}{c} = mat4x4<f32>();
    for (var channel = 0u; channel < DIM4; channel++) {
        let q{r} = q_rows(q_first + channel + {r} * 4 * DIM4);
        let k{c} = transpose(k_rows(k_first + channel + {c} * 4 * DIM4));
        s{r}{c} += k{c} * q{r};
    }
    let first = (id.z * Q_LEN + id.y * 4 * ROWS) * (KV_LEN / 4) + id.x * COLUMNS;
    write(first + {r} * KV_LEN + {c}, s{r}{c});
}

// Four channels of four rows, a column per row.
fn q_rows(at: u32) -> mat4x4<f32> {
    return mat4x4(q[at], q[at + DIM4], q[at + 2 * DIM4], q[at + 3 * DIM4]);
}

fn k_rows(at: u32) -> mat4x4<f32> {
    return mat4x4(k[at], k[at + DIM4], k[at + 2 * DIM4], k[at + 3 * DIM4]);
}

// Column i of the block is query i, with four keys.
fn write(at: u32, block: mat4x4<f32>) {
    scores[at] = block[0] * SCALE;
    scores[at + KV_LEN / 4] = block[1] * SCALE;
    scores[at + 2 * (KV_LEN / 4)] = block[2] * SCALE;
    scores[at + 3 * (KV_LEN / 4)] = block[3] * SCALE;
}

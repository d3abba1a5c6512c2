// C = A·B of one head, an invocation per tile of 4 × 4. Strides tell which of the two is read transposed.

override ROWS: u32;
override COLUMNS: u32;
override INNER: u32;
override A_ROW: u32;
override A_INNER: u32;
override B_INNER: u32;
override B_COLUMN: u32;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a_first = id.z * ROWS * INNER + id.y * 4u * A_ROW;
    let b_first = id.z * COLUMNS * INNER + id.x * 4u * B_COLUMN;
    var sum = mat4x4<f32>();
    for (var n = 0u; n < INNER; n++) {
        let left = four(a_first + n * A_INNER, A_ROW, true);
        let right = four(b_first + n * B_INNER, B_COLUMN, false);
        sum += mat4x4<f32>(left.x * right, left.y * right, left.z * right, left.w * right);
    }
    let at = (id.z * ROWS + id.y * 4u) * (COLUMNS / 4u) + id.x;
    c[at] = sum[0];
    c[at + COLUMNS / 4u] = sum[1];
    c[at + 2u * (COLUMNS / 4u)] = sum[2];
    c[at + 3u * (COLUMNS / 4u)] = sum[3];
}

fn four(at: u32, stride: u32, of_a: bool) -> vec4<f32> {
    if (of_a) { return vec4<f32>(a[at], a[at + stride], a[at + 2u * stride], a[at + 3u * stride]); }
    return vec4<f32>(b[at], b[at + stride], b[at + 2u * stride], b[at + 3u * stride]);
}

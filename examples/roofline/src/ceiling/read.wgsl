// The read ceiling: every vec4 of a large buffer is added up, one sum per invocation.
//
// The function `sum(first)` is generated (ceiling/memory.rs): LOADS loads in a row, WORKGROUP apart, so that a
// workgroup reads one contiguous block and neighbours read neighbouring words.

const WORKGROUP: u32 = 64;

@group(0) @binding(0) var<storage, read> words: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let total = sum(group.x * WORKGROUP * LOADS + lane);
    sums[group.x * WORKGROUP + lane] = dot(total, vec4(1.0));
}

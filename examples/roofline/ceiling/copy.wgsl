// The copy ceiling as a kernel: four vec4 an invocation, 64 apart, so that a workgroup copies one contiguous block.

const WORKGROUP: u32 = 64;
const WORDS: u32 = 4;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * WORKGROUP * WORDS + lane;
    destination[first] = source[first];
    destination[first + WORKGROUP] = source[first + WORKGROUP];
    destination[first + 2 * WORKGROUP] = source[first + 2 * WORKGROUP];
    destination[first + 3 * WORKGROUP] = source[first + 3 * WORKGROUP];
}

// The copy ceiling as a kernel: WORDS words per invocation, WORKGROUP apart, so that a workgroup copies one contiguous
// block.
//
// The alias `Word`, WORDS and the function `copy(first)` are generated (ceiling/memory.rs).

const WORKGROUP: u32 = 64;

@group(0) @binding(0) var<storage, read> source: array<Word>;
@group(0) @binding(1) var<storage, read_write> destination: array<Word>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    copy(group.x * WORKGROUP * WORDS + lane);
}

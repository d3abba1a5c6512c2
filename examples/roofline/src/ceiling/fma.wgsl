// The arithmetic ceiling: chains of multiply-adds that stay in registers.
//
// The function `chains(seed, b)` is generated (ceiling/fma.rs): how many chains, of scalars or of vectors, is what
// is searched, and only steps that stand in the text one by one are free of loop upkeep.

const WORKGROUP: u32 = 64;

// 64 seeds, then b: read, so that nothing can be folded at compile time.
@group(0) @binding(0) var<storage, read> numbers: array<f32, 65>;
@group(0) @binding(1) var<storage, read_write> results: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    results[id.x] = chains(numbers[id.x % 64], numbers[64]);
}

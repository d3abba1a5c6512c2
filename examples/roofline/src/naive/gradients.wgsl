// From S and dP, both Nq × Nk in memory: P = exp(scale·S − lse) in place of S, scale·P∘(dP − Δ) in place of dP. A
// workgroup owns a row.

override KV_LEN: u32;
override DIM: u32;
override SCALE: f32;

@group(0) @binding(0) var<storage, read_write> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> o: array<f32>;
@group(0) @binding(4) var<storage, read> d_o: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = group.x;
    var delta = 0.0;
    for (var c = 0u; c < DIM; c++) { delta += o[row * DIM + c] * d_o[row * DIM + c]; }
    for (var j = invocation; j < KV_LEN; j += 64u) {
        let at = row * KV_LEN + j;
        let p = exp(scores[at] * SCALE - lse[row]);
        scores[at] = p;
        gradients[at] = SCALE * p * (gradients[at] - delta);
    }
}

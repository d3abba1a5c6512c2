// The gradient of the learned sinks, dz_h = −Σ_i e^(z_h − lse_i)·Δ_i: an invocation adds up PART_ROWS rows of a head and
// writes a partial; `reduce` adds them up.

import part::params;
import part::numbers;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
@group(0) @binding(3) var<storage, read> aux: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = params.work_begin + (group.x + group.y * groups.x) * INVOCATIONS + invocation;
    if (n >= params.work_end) { return; }
    let tile = n % params.q_tiles;
    let h = n / params.q_tiles % params.q_heads;
    let b = n / params.q_tiles / params.q_heads;
    let sink = bitcast<f32>(aux[params.sinks_at + h]);
    let begin = params.q_begin + tile * PART_ROWS;
    var sum = 0.0;
    for (var i = begin; i < min(begin + PART_ROWS, params.q_end); i++) {
        let row = stats[row_start(params.stats, b, h, i)];
        sum -= weight(sink - row.x) * row.y;
    }
    partials[n] = sum;
}

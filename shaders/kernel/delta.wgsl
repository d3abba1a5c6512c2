// What the gradient kernels need of each query: (lse, Δ = Σ dO∘O − dlse). An invocation owns a row.

import part::params;
import part::numbers;
import slot::o_rows for o;
import slot::d_o_rows for d_o;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> o: array<o_word>;
@group(0) @binding(2) var<storage, read> d_o: array<d_o_word>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> aux: array<u32>;
@if(dlse) @group(0) @binding(6) var<storage, read> dlse: array<f32>;

fn o_dim() -> u32 { return params.value_dim; }
fn d_o_dim() -> u32 { return params.value_dim; }

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = params.work_begin + (group.x + group.y * groups.x) * INVOCATIONS + invocation;
    if (n >= params.work_end) { return; }
    let rows = params.q_end - params.q_begin;
    let i = params.q_begin + n % rows;
    let h = n / rows % params.q_heads;
    let b = n / rows / params.q_heads;

    let o_start = row_start(params.o, b, h, i);
    let d_o_start = row_start(params.d_o, b, h, i);
    var delta = 0.0;
    // The bound is read from `aux` at the batch: one straight from a uniform is dear on lavapipe.
    let chunks = aux[params.partials_at + b];
    for (var chunk = 0u; chunk < chunks; chunk++) { delta += dot(o_chunk(o_start, chunk), d_o_chunk(d_o_start, chunk)); }
    let at = row_start(params.lse, b, h, i);
    @if(dlse) delta -= dlse[at];
    // A dead row has no visible pair, so any finite lse does; −∞ would enter arithmetic.
    let dead = bitcast<u32>(lse[at]) == NEGATIVE_INFINITY_BITS;
    stats[row_start(params.stats, b, h, i)] = vec2<f32>(select(lse[at], 0.0, dead), delta);
}

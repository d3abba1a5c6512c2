// The gradient of the learned sinks, dz_h = −Σ_i e^(z_h − lse_i)·Δ_i: an invocation adds up PART_ROWS rows of a head and
// writes a partial; `reduce` adds them up.

import part::params;
import part::item;
import slot::address for stats;
import part::numbers;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;
@group(0) @binding(3) var<storage, read> aux: array<u32>;

fn stats_strides() -> Rows { return params.stats; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work_end) { return; }
    let tile = head_item(n, params.q_tiles);
    let sink = bitcast<f32>(aux[params.sinks_at + tile.h]);
    let begin = params.q_begin + tile.n * PART_ROWS;
    let stats_at = stats_place(tile.b, tile.h);
    var sum = 0.0;
    for (var i = begin; i < min(begin + PART_ROWS, params.q_end); i++) {
        let row = stats[stats_row(stats_at, i)];
        sum -= weight(sink - row.x) * row.y;
    }
    partials[n] = sum;
}

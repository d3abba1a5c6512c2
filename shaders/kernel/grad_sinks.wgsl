// The gradient of the learned sinks, dz_h = −Σ_i e^(z_h − lse_i)·Δ_i: an invocation adds up PART_ROWS rows of a head and
// writes a partial; `reduce` adds them up.

import part::params;
import part::item;
import slot::address for stats;
import part::numbers;

@bind var<uniform> params: Params;
@bind var<storage, read> stats: array<vec2<f32>>;
@bind var<storage, read_write> partials: array<f32>;
@bind var<storage, read> aux: array<u32>;

fn stats_strides() -> StridesParams { return params.stats; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let tile = head_item(n, params.work.tiles);
    let sink = bitcast<f32>(aux[params.sinks.at + tile.h]);
    let begin = params.range.q_begin + tile.n * PART_ROWS;
    let stats_at = stats_place(tile.b, tile.h);
    var sum = 0.0;
    for (var i = begin; i < min(begin + PART_ROWS, params.range.q_end); i++) {
        let row = stats[stats_row(stats_at, i)];
        sum -= share_of_row(sink - row.x) * row.y;
    }
    partials[n] = sum;
}

// What the gradient kernels need of each query: (lse, Δ = Σ dO∘O − dlse). An invocation owns a row.

import part::params;
import part::item;
import part::numbers;
import slot::o_rows for o;
import slot::d_o_rows for d_o;
import slot::address for lse;
import slot::address for stats;

@bind var<uniform> params: Params;
@bind var<storage, read> o: array<o_word>;
@bind var<storage, read> d_o: array<d_o_word>;
@bind var<storage, read> lse: array<f32>;
@bind var<storage, read_write> stats: array<vec2<f32>>;
@bind var<storage, read> aux: array<u32>;
@if(dlse) @bind var<storage, read> dlse: array<f32>;

fn o_dim() -> u32 { return params.sizes.value_dim; }
fn d_o_dim() -> u32 { return params.sizes.value_dim; }
fn o_strides() -> StridesParams { return params.o; }
fn d_o_strides() -> StridesParams { return params.d_o; }
fn lse_strides() -> StridesParams { return params.lse; }
fn stats_strides() -> StridesParams { return params.stats; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let row = head_item(n, params.range.q_end - params.range.q_begin);
    let i = params.range.q_begin + row.n;

    let o_start = o_row(o_place(row.b, row.h), i);
    let d_o_start = d_o_row(d_o_place(row.b, row.h), i);
    var delta = 0.0;
    // The bound is read from `aux` at the batch: one straight from a uniform is dear on lavapipe.
    let chunks = aux[params.bound.at + row.b];
    for (var chunk = 0u; chunk < chunks; chunk++) { delta += dot(o_chunk(o_start, chunk), d_o_chunk(d_o_start, chunk)); }
    let at = lse_row(lse_place(row.b, row.h), i);
    @if(dlse) delta -= dlse[at];
    // A fully masked row has no visible pair, so any finite lse does; −∞ would enter arithmetic.
    let fully_masked = bitcast<u32>(lse[at]) == NEGATIVE_INFINITY_BITS;
    stats[stats_row(stats_place(row.b, row.h), i)] = vec2<f32>(select(lse[at], 0.0, fully_masked), delta);
}

// Merges partial results of the same rows: lse = ln Σ e^lse_k, O = Σ e^(lse_k − lse)·O_k. An empty partial is
// (−∞, 0). An invocation owns four channels of one row.

import part::params;
import part::item;
import part::numbers;
import slot::o_rows for o;
import slot::address for lse;

@bind var<uniform> params: Params;
@bind var<storage, read> partial_o: array<f32>;
@bind var<storage, read> partial_lse: array<f32>;
@bind var<storage, read_write> o: array<o_word>;
@bind var<storage, read_write> lse: array<u32>;
@bind var<storage, read> aux: array<u32>;

fn o_dim() -> u32 { return params.sizes.value_dim; }
fn o_strides() -> StridesParams { return params.o; }
fn lse_strides() -> StridesParams { return params.lse; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let chunks = (params.sizes.value_dim + 3u) / 4u;
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let chunk = n % chunks;
    let row = n / chunks;
    let rows = params.range.q_end - params.range.q_begin;
    let own_row = head_item(row, rows);
    let i = params.range.q_begin + own_row.n;

    // Read from `aux` at the batch: a loop bound straight from a uniform is dear on lavapipe.
    let partials = aux[params.bound.at + own_row.b];
    var row_max = LOWEST;
    for (var s = 0u; s < partials; s++) {
        let part_lse = partial_lse[s * params.partial.lse + row];
        if (!is_empty(part_lse)) { row_max = max(row_max, part_lse); }
    }
    var row_sum = 0.0;
    if (params.sinks.at != NOWHERE) {
        // A sink joins the sum with no value of its own.
        let sink = bitcast<f32>(aux[params.sinks.at + own_row.h]);
        row_max = max(row_max, sink);
        row_sum = weight(sink - row_max);
    }
    var x = vec4<f32>();
    for (var s = 0u; s < partials; s++) {
        let part_lse = partial_lse[s * params.partial.lse + row];
        if (!is_empty(part_lse)) {
            let w = weight(part_lse - row_max);
            row_sum += w;
            x += w * part_chunk(s * params.partial.o + row * params.sizes.value_dim, chunk);
        }
    }

    // A partial that saw a key adds to the sum, be it a NaN.
    let fully_masked = bitcast<u32>(row_sum) == 0u;
    o_store(o_row(o_place(own_row.b, own_row.h), i), chunk, select(x / row_sum, vec4<f32>(), fully_masked));
    if (chunk == 0u) {
        lse[lse_row(lse_place(own_row.b, own_row.h), i)] = lse_bits(row_max, row_sum);
    }
}

// No key was visible to the partial.
fn is_empty(part_lse: f32) -> bool {
    return bitcast<u32>(part_lse) == NEGATIVE_INFINITY_BITS;
}

fn part_chunk(row: u32, chunk: u32) -> vec4<f32> {
    let last = params.sizes.value_dim - 1u;
    let c = min(vec4<u32>(4u * chunk) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    return vec4<f32>(partial_o[row + c.x], partial_o[row + c.y], partial_o[row + c.z], partial_o[row + c.w]);
}

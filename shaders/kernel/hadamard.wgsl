// Rotates rows by a Walsh–Hadamard matrix, block by block of channels: y_j = Σ_i (−1)^|i ∧ j| x_i / √n, |·| the bits that
// are set. Its inverse is itself. An invocation owns 4 channels of a row: of a block of n channels it adds up n / 4
// chunks, and takes the last two bits of i and j within the sum.

import part::params;
import part::item;
import slot::x_rows for x;
import slot::o_rows for o;

@bind var<uniform> params: Params;
@bind var<storage, read> x: array<x_word>;
@bind var<storage, read_write> o: array<o_word>;

fn x_dim() -> u32 { return params.sizes.head_dim; }
fn o_dim() -> u32 { return params.sizes.head_dim; }
fn x_strides() -> StridesParams { return params.x; }
fn o_strides() -> StridesParams { return params.y; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let chunks = (params.sizes.head_dim + 3u) / 4u;
    let chunk = n % chunks;
    let row = head_item(n / chunks, params.range.q_end - params.range.q_begin);
    let i = params.range.q_begin + row.n;
    let x_start = x_row(x_place(row.b, row.h), i);

    let j = chunk % params.hadamard.chunks;
    let first = chunk - j;
    var sum = vec4<f32>();
    for (var c = first; c < first + params.hadamard.chunks; c++) {
        let term = x_chunk(x_start, c);
        sum += select(term, -term, countOneBits((c - first) & j) % 2u == 1u);
    }
    let y = params.hadamard.factor * within_chunk(sum);
    o_store(o_row(o_place(row.b, row.h), i), chunk, y);
}

// The sums and differences of neighbours and, unless blocks are of two channels, of what lies two apart.
fn within_chunk(x: vec4<f32>) -> vec4<f32> {
    let twos = vec4<f32>(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
    return select(twos, vec4<f32>(twos.xy + twos.zw, twos.xy - twos.zw), params.hadamard.fours != 0u);
}

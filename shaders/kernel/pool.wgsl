// What stands for each block of rows where blocks are compared: the mean of its live rows or, channel by channel, their
// least and largest (Quest, 2406.10774). An invocation owns 4 channels of a block.

import part::params;
import part::item;
import slot::x_rows for x;

@bind var<uniform> params: Params;
@bind var<storage, read> x: array<x_word>;
@bind var<storage, read_write> pooled: array<vec4<f32>>;
@bind var<storage, read> aux: array<u32>;

fn x_dim() -> u32 { return params.sizes.head_dim; }
fn x_strides() -> StridesParams { return params.x; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let chunks = (params.sizes.head_dim + 3u) / 4u;
    let chunk = n % chunks;
    let block = head_item(n / chunks, params.work.tiles);
    let begin = (params.choice.first + block.n) * params.lists.side;
    // Read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
    let end = min(begin + params.lists.side, min(aux[params.choice.ends_at + block.b], params.sizes.q_len));

    @if(!extremes) var mean = vec4<f32>();
    @if(extremes) var low = vec4<f32>();
    @if(extremes) var high = vec4<f32>();
    if (begin < end) {
        let x_at = x_place(block.b, block.h);
        let first = x_chunk(x_row(x_at, begin), chunk);
        @if(extremes) low = first;
        @if(extremes) high = first;
        // Relative to the first row, so that blocks of equal rows have equal means, however many rows they have.
        @if(!extremes) var sum = vec4<f32>();
        for (var i = begin + 1u; i < end; i++) {
            let row = x_chunk(x_row(x_at, i), chunk);
            @if(!extremes) sum += row - first;
            @if(extremes) low = min(low, row);
            @if(extremes) high = max(high, row);
        }
        @if(!extremes) mean = first + sum / f32(end - begin);
    }
    @if(!extremes) pooled[n] = mean;
    @if(extremes) pooled[2u * n] = low;
    @if(extremes) pooled[2u * n + 1u] = high;
}

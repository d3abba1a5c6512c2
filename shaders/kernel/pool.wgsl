// What stands for each block of rows where blocks are compared: the mean of its live rows or, channel by channel, their
// least and largest (Quest, 2406.10774). An invocation owns 4 channels of a block.

import part::params;
import slot::x_rows for x;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<x_word>;
@group(0) @binding(2) var<storage, read_write> pooled: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> aux: array<u32>;

fn x_dim() -> u32 { return params.head_dim; }

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let n = params.work_begin + (group.x + group.y * groups.x) * INVOCATIONS + invocation;
    if (n >= params.work_end) { return; }
    let chunks = (params.head_dim + 3u) / 4u;
    let chunk = n % chunks;
    let block = params.block_begin + n / chunks % params.q_tiles;
    let h = n / chunks / params.q_tiles % params.q_heads;
    let b = n / chunks / params.q_tiles / params.q_heads;
    let begin = block * params.block_side;
    // Read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
    let end = min(begin + params.block_side, min(aux[params.pool_ends_at + b], params.q_len));

    @if(!extremes) var mean = vec4<f32>();
    @if(extremes) var low = vec4<f32>();
    @if(extremes) var high = vec4<f32>();
    if (begin < end) {
        let first = x_chunk(row_start(params.q, b, h, begin), chunk);
        @if(extremes) low = first;
        @if(extremes) high = first;
        // Relative to the first row, so that blocks of equal rows have equal means, however many rows they have.
        @if(!extremes) var sum = vec4<f32>();
        for (var i = begin + 1u; i < end; i++) {
            let row = x_chunk(row_start(params.q, b, h, i), chunk);
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

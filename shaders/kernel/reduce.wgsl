// Adds up partials [B, Hq, tiles, parts] in a fixed order. An invocation owns one number of one head.

import part::params;
import part::item;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read> aux: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let item = item_of(own);
    if (item >= params.work_end) { return; }
    let h = item % params.q_heads;
    let n = item / params.q_heads;
    var sum = 0.0;
    for (var b = 0u; b < params.batch; b++) {
        // Read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
        let tiles = aux[params.partials_at + b];
        for (var tile = 0u; tile < tiles; tile++) {
            sum += partials[((b * params.q_heads + h) * tiles + tile) * params.part_stride + n];
        }
    }
    sums[params.o.start + (params.part_begin + n) * params.q_heads + h] = sum;
}

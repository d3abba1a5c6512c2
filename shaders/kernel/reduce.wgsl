// Adds up partials [B, Hq, tiles, parts] in a fixed order. An invocation owns one number of one head.

import part::params;
import part::item;

@bind var<uniform> params: Params;
@bind var<storage, read> partials: array<f32>;
@bind var<storage, read_write> sums: array<f32>;
@bind var<storage, read> aux: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let item = item_of(own);
    if (item >= params.work.end) { return; }
    let h = item % params.sizes.q_heads;
    let n = item / params.sizes.q_heads;
    var sum = 0.0;
    for (var b = 0u; b < params.sizes.batch; b++) {
        // Read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
        let tiles = aux[params.bound.at + b];
        for (var tile = 0u; tile < tiles; tile++) {
            sum += partials[((b * params.sizes.q_heads + h) * tiles + tile) * params.partials.stride + n];
        }
    }
    sums[params.y.start + (params.partials.begin + n) * params.sizes.q_heads + h] = sum;
}

// Adds up partials [B, Hq, tiles, numbers], as many tiles as a batch has, of the batches and heads that share a number, in a fixed order. An
// invocation owns one sum.

import part::params;
import part::item;
import slot::address for sum;

@bind var<uniform> params: Params;
@bind var<storage, read> partials: array<f32>;
@bind var<storage, read_write> sums: array<f32>;
@bind var<storage, read> aux: array<u32>;

fn sum_strides() -> StridesParams { return params.y; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let item = item_of(own);
    if (item >= params.work.end) { return; }
    let n = item % params.partials.count;
    let heads = params.sizes.q_heads / params.sharing.heads;
    let h = item / params.partials.count % heads;
    let b = item / params.partials.count / heads;
    let first_batch = b * params.sharing.batches;
    let first_head = h * params.sharing.heads;
    var sum = 0.0;
    for (var batch = first_batch; batch < first_batch + params.sharing.batches; batch++) {
        // Read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
        let tiles = aux[params.partials.tiles_at + batch];
        let before = aux[params.partials.before_at + batch] * params.sizes.q_heads;
        for (var head = first_head; head < first_head + params.sharing.heads; head++) {
            let start = before + head * tiles;
            for (var tile = 0u; tile < tiles; tile++) {
                sum += partials[(start + tile) * params.partials.stride + n];
            }
        }
    }
    sums[sum_row(sum_place(b, h), params.partials.begin + n)] = sum;
}

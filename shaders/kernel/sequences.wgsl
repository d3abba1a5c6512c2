// What follows from cu_seqlens that only the device knows, among the small operands: sequences that rise and end within
// the tokens there are, and of each its keys and the key at which its first query stands. One invocation does it all,
// for each number depends on the one before.

import part::params;

@bind var<uniform> params: Params;
@bind var<storage, read_write> small: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main() {
    // A loop bound straight from a uniform is dear on lavapipe.
    let batches = small[params.bound.at];
    var q = bounded(params.sequences.q_at, 0u, params.sequences.q_total);
    var k = bounded(params.sequences.k_at, 0u, params.sequences.k_total);
    for (var b = 0u; b < batches; b++) {
        let next_q = bounded(params.sequences.q_at + b + 1u, q, params.sequences.q_total);
        let next_k = bounded(params.sequences.k_at + b + 1u, k, params.sequences.k_total);
        let q_len = select(min(next_q - q, params.sizes.q_len), params.sizes.q_len, params.sequences.q_at == NOWHERE);
        let k_len = select(min(next_k - k, params.sizes.kv_len), params.sizes.kv_len, params.sequences.k_at == NOWHERE);
        if (params.intervals.lens_at != NOWHERE) { small[params.intervals.lens_at + b] = k_len; }
        if (params.intervals.offsets_at != NOWHERE) { small[params.intervals.offsets_at + b] = k_len - q_len; }
        q = next_q;
        k = next_k;
    }
}

// The word at `at`, put between the one before and the tokens there are. Of a side that is not ragged there is none.
fn bounded(at: u32, least: u32, total: u32) -> u32 {
    if (total == NOWHERE) { return 0u; }
    let x = clamp(small[at], least, total);
    small[at] = x;
    return x;
}

// Tokens among all of their side, for what is given per token. Beyond a sequence's end the last one stands.

fn query_token(b: u32, i: u32) -> u32 {
    @if(!ragged_queries) return b * params.sizes.q_len + min(i, params.sizes.q_len - 1u);
    @if(ragged_queries) return min(aux[params.sequences.q_at + b] + i, max(aux[params.sequences.q_at + b + 1u], 1u) - 1u);
}

fn key_token(b: u32, j: u32) -> u32 {
    @if(!ragged_keys) return b * params.sizes.kv_len + min(j, params.sizes.kv_len - 1u);
    @if(ragged_keys) return min(aux[params.sequences.k_at + b] + j, max(aux[params.sequences.k_at + b + 1u], 1u) - 1u);
}

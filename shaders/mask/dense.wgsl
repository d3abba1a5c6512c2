// A boolean mask, asked of an invocation's pairs.

import mask::dense_bits;

// The keys of a step lie in one word.
@if(dense_mask) @if(!transposed) fn mask_dense(visible: Flags, context: RowContext, j: u32) -> Flags {
    var flags = visible;
    let word = mask_place(context.b, context.h) + min(j, params.sizes.kv_len - 1u) / 32u;
    @unroll for (var r = 0u; r < ROWS; r++) { flags[r] &= aux[mask_row(word, context.rows[r])] >> (j % 32u); }
    return flags;
}

@if(dense_mask) @if(transposed) fn mask_dense(visible: Flags, context: RowContext, i: u32) -> Flags {
    var flags = visible;
    @unroll for (var c = 0u; c < KEYS; c++) {
        let query = min(i + c, params.sizes.q_len - 1u);
        @unroll for (var r = 0u; r < ROWS; r++) {
            flags[r] &= ~select(1u << c, 0u, dense_sees(context.b, context.h, query, context.rows[r]));
        }
    }
    return flags;
}

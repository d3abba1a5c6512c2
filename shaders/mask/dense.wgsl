// A boolean mask, asked of an invocation's pairs.

import mask::dense_bits;

// The keys of a step lie in one word.
@if(dense_mask) @if(!transposed) fn mask_dense(visible: Flags, context: RowContext, j: u32) -> Flags {
    var flags = visible;
    let word = min(j, params.sizes.kv_len - 1u) / 32u;
    @unroll for (var r = 0u; r < ROWS; r++) {
        let row = mask_row(mask_place(context.b, row_head(context, r)), context.rows[r]);
        flags[r] &= aux[row + word] >> (j % 32u);
    }
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

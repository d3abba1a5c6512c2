// mask_mod of the user's, asked of an invocation's pairs.

import mask::user;

// The query of a row and a column, and the key: inside of the problem also where a tile reaches beyond its end.
@if(mods) fn pair_query(row: u32, column: u32) -> u32 {
    @if(transposed) return min(column, params.sizes.q_len - 1u);
    @if(!transposed) return row;
}

@if(mods) fn pair_key(row: u32, column: u32) -> u32 {
    @if(transposed) return row;
    @if(!transposed) return min(column, params.sizes.kv_len - 1u);
}

@if(mask_mod) fn mask_by_mod(flags: Flags, context: RowContext, column: u32) -> Flags {
    var left = flags;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let visible = user_mask_mod(context.b, row_head(context, r), pair_query(context.rows[r], column + c), pair_key(context.rows[r], column + c));
            left[r] &= select(~(1u << c), 0xffffffffu, visible);
        }
    }
    return left;
}

// The bits of a partial block: row by row, in words of 32 columns. The keys of a step lie in one word.

@if(block_bits) fn bit_words() -> u32 {
    return (params.lists.side + 31u) / 32u;
}

@if(block_bits) fn mask_block_bits(visible: Flags, bits: u32, context: RowContext, j: u32) -> Flags {
    var flags = visible;
    if (bits != NOWHERE) {
        let column = j % params.lists.side;
        @unroll for (var r = 0u; r < ROWS; r++) {
            let row = context.rows[r] % params.lists.side;
            flags[r] &= aux[bits + row * bit_words() + column / 32u] >> (column % 32u);
        }
    }
    return flags;
}

// The blocks of a list as rows of a matrix, for list_blocks.

fn state_of(n: u32, j: u32) -> u32 {
    return states[n * params.listing.columns + j];
}

// Rows of a slice of the blocks of queries are lists of the whole.
fn list_number(n: u32) -> u32 {
    return n / params.work.tiles * params.listing.rows + params.choice.first + n % params.work.tiles;
}

fn mark(state: u32) -> u32 {
    // Blocks are chosen beneath all masks, so other calls are to ask mask_mod, too.
    @if(top_k) return PARTIAL;
    @if(!top_k) return select(0u, PARTIAL, state == SOME_PAIRS);
}

const PARTIAL = 0x80000000u;

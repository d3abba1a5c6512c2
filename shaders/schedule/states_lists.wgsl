// The blocks of queries whose lists name a block of keys, for list_blocks: the transposed lists.

// Whether block i of queries, of the head of transposed list n, lists its block of keys.
fn state_of(n: u32, i: u32) -> u32 {
    let row = params.lists.rows_at + (n / params.listing.rows * params.listing.columns + i) * (1u + params.lists.capacity);
    let length = lists[row];
    if (length > params.lists.capacity) { return SOME_PAIRS; }
    let block = n % params.listing.rows;
    var low = 0u;
    var high = min(length, params.lists.columns);
    while (low < high) {
        let middle = (low + high) / 2u;
        if ((lists[row + 1u + middle] & ~PARTIAL) < block) { low = middle + 1u; } else { high = middle; }
    }
    let listed = lists[row + 1u + min(low, params.lists.capacity - 1u)];
    if (low >= min(length, params.lists.columns) || (listed & ~PARTIAL) != block) { return NONE_VISIBLE; }
    return select(ALL_PAIRS, SOME_PAIRS, (listed & PARTIAL) != 0u);
}

fn list_number(n: u32) -> u32 {
    return n;
}

fn mark(state: u32) -> u32 {
    return select(0u, PARTIAL, state == SOME_PAIRS);
}

const PARTIAL = 0x80000000u;

// Row fragments: what an invocation has in registers of its ROWS rows, of which LANES invocations have a part each. For
// strategies whose invocations hold rows so; they say what `invocation_index` is.

import part::chunk;

// A chunk of channels of each row.
alias RowFragment = array<Chunk, ROWS>;

// The place in its tile of an invocation's row r.
fn own_row(r: u32) -> u32 {
    return invocation_index / LANES + r * ROW_STRIDE;
}

// Which of LANES neighbouring chunks the invocation has.
fn own_part() -> u32 {
    return invocation_index % LANES;
}

// Of the invocations that share rows one tells of them.
fn tells_rows() -> bool {
    return own_part() == 0u;
}

fn head_dim() -> u32 { return params.sizes.head_dim; }
fn value_dim() -> u32 { return params.sizes.value_dim; }

// The chunks of `dim` channels that an invocation has. No compiler knows it, so none unrolls a loop up to it.
fn chunks_of(dim: u32, most: u32) -> u32 {
    return min((dim + CHUNK * LANES - 1u) / (CHUNK * LANES), most);
}

// `fragment`, or `other` where `here`.
fn select_fragment(fragment: RowFragment, other: RowFragment, here: bool) -> RowFragment {
    var x = fragment;
    @unroll for (var r = 0u; r < ROWS; r++) { x[r] = select_chunk(x[r], other[r], here); }
    return x;
}

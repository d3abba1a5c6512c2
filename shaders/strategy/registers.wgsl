// Rows and sums of one operand in registers.

import strategy::fragments;

@if(tensor_rows) alias TensorRows = array<RowFragment, TENSOR_CHUNKS>;
@if(tensor_sum) alias TensorSum = array<RowFragment, TENSOR_CHUNKS>;

// A loop that no driver unrolls: loads are long text, and software adapters keep what comes out of a loop, but
// compute again, after every barrier, what comes out of an expression.
@if(tensor_rows) fn tensor_load_rows(own: OwnRows) -> TensorRows {
    var rows = TensorRows();
    for (var n = 0u; n < chunks_of(tensor_dim(), TENSOR_CHUNKS); n++) {
        let fragment = tensor_load_fragment(own, n * LANES + own_part());
        @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) { rows[d] = select_fragment(rows[d], fragment, d == n); }
    }
    return rows;
}

@if(tensor_rows) fn tensor_load_fragment(own: OwnRows, chunk: u32) -> RowFragment {
    var fragment = RowFragment();
    @unroll for (var r = 0u; r < ROWS; r++) { fragment[r] = tensor_of_own(own[r], chunk); }
    return fragment;
}

// Stores are long text, too.
@if(tensor_sum) fn tensor_store(sum: TensorSum, rows: FinishedRows) {
    for (var n = 0u; n < chunks_of(tensor_dim(), TENSOR_CHUNKS); n++) {
        var fragment = RowFragment();
        @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) { fragment = select_fragment(fragment, sum[d], d == n); }
        tensor_store_fragment(fragment, n * LANES + own_part(), rows);
    }
}

@if(tensor_sum) fn tensor_store_fragment(fragment: RowFragment, chunk: u32, rows: FinishedRows) {
    @if(tensor_ragged) if (chunk >= TENSOR_ALL_CHUNKS) { return; }
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (rows[r].owned) {
            let x = scaled(fragment[r], rows[r].factor);
            @unroll for (var n = 0u; n < VEC4S; n++) { tensor_put(rows[r].start, chunk * VEC4S + n, or_nonfinite(x[n], rows[r].nonfinite)); }
        }
    }
}

// The same number in every channel.
@if(tensor_sum) @if(count_tiles) fn tensor_fill(x: f32) -> TensorSum {
    var sum = TensorSum();
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
        @unroll for (var r = 0u; r < ROWS; r++) {
            @unroll for (var n = 0u; n < VEC4S; n++) { sum[d][r][n] = vec4<f32>(x); }
        }
    }
    return sum;
}

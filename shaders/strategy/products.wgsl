// The two products of a row fragment with what a step's KEYS columns have in the same channels, as whole values: the
// text of a product stands once (naga's time grows with the square of a function's length), and every index in it is a
// constant.

// S + rows·columnsᵀ over a chunk.
@if(tensor_rows) fn tensor_add_scores(scores: Scores, rows: RowFragment, columns: Shared) -> Scores {
    var s = scores;
    @unroll for (var n = 0u; n < SHARES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = tensor_shared(columns, c, n);
            @unroll for (var m = 0u; m < SHARE_VEC4S; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += dot(rows[r][n * SHARE_VEC4S + m], x[m]); }
            }
        }
    }
    return s;
}

// sum·rescale + weights·columns in a chunk. The step's part is summed by itself: a sum over all keys that grows by one
// product at a time would round as often as there are keys. Of many rows four channels at once are more sums than a
// software adapter's processor has registers: `by_channel` takes one channel at a time (D = 64, 8 rows, a Zen 3: 72 to
// 66 ms).
@if(tensor_sum) fn tensor_add_weighted(sum: RowFragment, rescale: array<f32, ROWS>, weights: Scores, columns: Shared) -> RowFragment {
    var added = RowFragment();
    @if(!by_channel) @unroll for (var n = 0u; n < SHARES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = tensor_shared(columns, c, n);
            @unroll for (var m = 0u; m < SHARE_VEC4S; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { added[r][n * SHARE_VEC4S + m] += weights[r][c] * x[m]; }
            }
        }
    }
    @if(by_channel) @unroll for (var n = 0u; n < SHARES; n++) {
        @unroll for (var e = 0u; e < 4u; e++) {
            @unroll for (var c = 0u; c < KEYS; c++) {
                let x = tensor_shared(columns, c, n)[0u][e];
                @unroll for (var r = 0u; r < ROWS; r++) { added[r][n][e] += weights[r][c] * x; }
            }
        }
    }
    var next = RowFragment();
    @unroll for (var r = 0u; r < ROWS; r++) { next[r] = sum_of(scaled(sum[r], rescale[r]), added[r]); }
    return next;
}

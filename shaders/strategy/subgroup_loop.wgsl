// Subgroup with a loop over the columns of a step, whose text is a KEYS-th as long: for drivers whose time to compile
// grows faster than their loops cost.

import strategy::lane_columns for tensor;
import strategy::column_scores;

@if(tensor_rows) fn tensor_scores(rows: TensorRows, step: ptr<function, Step>) -> Scores {
    var own = array<Chunk, TENSOR_CHUNKS>();
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) { own[d] = tensor_column(step, d * LANES + own_part()); }
    @if(tensor_sum) (*step).tensor_kept = own;
    var s = Scores();
    for (var c = 0u; c < KEYS; c++) {
        var of_column = ColumnScores();
        @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) { of_column = add_column_scores(of_column, rows[d], own[d], c); }
        s = put_column_scores(s, of_column, c);
    }
    return sum_over_rows(s);
}

// Subgroup: columns in lanes, and every product of a step in the text.

import strategy::lane_columns for tensor;

@if(tensor_rows) fn tensor_scores(rows: TensorRows, step: ptr<function, Step>) -> Scores {
    var s = Scores();
    @unroll for (var d = 0u; d < TENSOR_CHUNKS; d++) {
        let own = tensor_column(step, d * LANES + own_part());
        @if(tensor_sum) (*step).tensor_kept[d] = own;
        s = tensor_add_scores(s, rows[d], own);
    }
    return sum_over_rows(s);
}

// A dense additive bias [B, Hq, Nq, Nk]; −∞ hides a pair.

@if(bias) fn add_bias(scores: Scores, place: Place, column: u32) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(!transposed) let start = row_start(params.bias, place.b, place.h, place.rows[r]);
        @unroll for (var c = 0u; c < KEYS; c++) {
            @if(!transposed) let x = bias[start + min(column + c, params.kv_len - 1u)];
            @if(transposed) let x = bias[row_start(params.bias, place.b, place.h, min(column + c, params.q_len - 1u)) + place.rows[r]];
            s[r][c] = select(s[r][c] + x * LOG2_E, MASKED, x < LOWEST);
        }
    }
    return s;
}

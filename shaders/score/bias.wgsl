// A dense additive bias [B, Hq, Nq, Nk]; −∞ hides a pair.

@if(bias) fn add_bias(scores: Scores, place: Place, j: u32) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        let start = row_start(params.bias, place.b, place.h, place.i[r]);
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = bias[start + min(j + c, params.kv_len - 1u)];
            s[r][c] = select(s[r][c] + x * LOG2_E, MASKED, x < LOWEST);
        }
    }
    return s;
}

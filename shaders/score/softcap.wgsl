// c·tanh(x/c)

@if(softcap) fn cap_scores(scores: Scores) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = params.softcap * precise_tanh(s[r][c] * params.softcap_inverse); }
    }
    return s;
}

// c·tanh(x/c)

fn cap_scores(scores: Scores) -> Scores {
    @if(!softcap) return scores;
    @if(softcap) var s = scores;
    @if(softcap) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { s[r][c] = params.score.softcap * precise_tanh(s[r][c] * params.score.softcap_inverse); }
    }
    @if(softcap) return s;
}

// dx = dt·(1 − (t/c)²) of capped scores t.
@if(gradient) fn uncap_gradients(gradients: Scores, capped: Scores) -> Scores {
    @if(!softcap) return gradients;
    @if(softcap) var dx = gradients;
    @if(softcap) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let ratio = capped[r][c] * params.score.softcap_inverse;
            dx[r][c] *= 1.0 - ratio * ratio;
        }
    }
    @if(softcap) return dx;
}

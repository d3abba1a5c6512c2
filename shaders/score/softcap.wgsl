// c·tanh(x/c)

fn cap_scores(scores: Scores) -> Scores {
    @if(!softcap) return scores;
    @if(softcap) var s = scores;
    @if(softcap) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let t = params.score.softcap * precise_tanh(s[r][c] * params.score.softcap_inverse);
            // A bias that comes before may have hidden the pair.
            @if(bias_first) s[r][c] = select(t, MASKED, s[r][c] < LOWEST);
            @if(!bias_first) s[r][c] = t;
        }
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

// dS to the gradients of the bias, which may come before the softcap.
@if(gradient) fn bias_gradients(gradients: Scores, capped: Scores) -> Scores {
    @if(!bias_first) return gradients;
    @if(bias_first) return uncap_gradients(gradients, capped);
}

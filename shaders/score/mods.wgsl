// The user's score_mod and its derivative.

// A pair that is hidden already stays so, whatever score_mod makes of it.
fn modify_scores(scores: Scores, context: RowContext, column: u32) -> Scores {
    @if(!score_mod) return scores;
    @if(score_mod) var s = scores;
    @if(score_mod) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let x = user_score_mod(s[r][c], context.b, row_head(context, r), pair_query(context.rows[r], column + c), pair_key(context.rows[r], column + c));
            s[r][c] = select(x, MASKED, x < HIDING || s[r][c] < LOWEST);
        }
    }
    @if(score_mod) return s;
}

// dS by the modified scores to dS by those before; a derivative that is no number harms no pair of weight 0.
@if(gradient) fn modify_gradients(gradients: Scores, scores: Scores, context: RowContext, column: u32) -> Scores {
    @if(!score_mod) return gradients;
    @if(score_mod) var ds = gradients;
    @if(score_mod) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            let slope = user_score_mod_grad(scores[r][c], context.b, row_head(context, r), pair_query(context.rows[r], column + c), pair_key(context.rows[r], column + c));
            ds[r][c] = select(ds[r][c] * slope, 0.0, ds[r][c] == 0.0);
        }
    }
    @if(score_mod) return ds;
}

// ALiBi (2108.12409): −slope_h·|p_i − p_j|

@if(alibi) fn head_slope(b: u32, h: u32) -> f32 {
    return bitcast<f32>(aux[params.score.slopes_at + b * params.score.slopes_batch + h]);
}

@if(alibi) fn add_alibi(scores: Scores, context: RowContext, column: u32) -> Scores {
    var s = scores;
    @unroll for (var c = 0u; c < OWN_KEYS; c++) {
        let p = column_position(context.b, column + c);
        @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] -= alibi_slope(context, r) * f32(abs(context.p[r] - p)); }
    }
    return s;
}

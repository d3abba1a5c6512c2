// T5's relative bias (1910.10683): one learned number per head for each bucket of distances.

@if(t5) fn t5_bucket(relative: i32) -> u32 {
    let far = i32(params.score.t5_distance);
    return aux[params.score.t5_buckets_at + u32(clamp(relative, -far, far) + far)];
}

@if(t5) fn t5_bias(h: u32, relative: i32) -> f32 {
    return bitcast<f32>(aux[params.score.t5_at + t5_bucket(relative) * params.sizes.q_heads + h]);
}

@if(t5) fn add_t5(scores: Scores, context: RowContext, column: u32) -> Scores {
    var s = scores;
    @unroll for (var c = 0u; c < OWN_KEYS; c++) {
        let p = column_position(context.b, column + c);
        @if(transposed) @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += t5_bias(context.h, context.p[r] - p); }
        @if(!transposed) @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += t5_bias(row_head(context, r), p - context.p[r]); }
    }
    return s;
}

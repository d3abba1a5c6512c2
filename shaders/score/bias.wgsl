// A dense additive bias [B, Hq, Nq, Nk], broadcast along axes of stride 0; what lies below HIDING, as −∞ does, hides a pair.

@if(bias) import slot::address for bias;
@if(bias_halves) import slot::bias_element for bias;

@if(bias) fn bias_strides() -> StridesParams { return params.bias; }

@if(bias) @if(!bias_pairs) @if(!bias_halves) alias Biases = f32;
@if(bias_halves) alias Biases = u32;
@if(bias) @if(bias_pairs) alias Biases = u64;

// The number of an element; rows of 16-bit numbers start in either half of a word.
@if(bias) @if(!bias_pairs) fn bias_number(at: u32) -> f32 {
    @if(!bias_halves) return bias[at];
    @if(bias_halves) let pair = bias_unpack(bias[at / 2u]);
    @if(bias_halves) return select(pair.x, pair.y, at % 2u == 1u);
}

@if(bias) @if(!bias_pairs) fn add_bias(scores: Scores, context: RowContext, column: u32) -> Scores {
    var s = scores;
    @if(transposed) let at = bias_place(context.b, context.h);
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(!transposed) let start = bias_row(bias_place(context.b, row_head(context, r)), context.rows[r]);
        @unroll for (var c = 0u; c < OWN_KEYS; c++) {
            @if(!transposed) let x = bias_number(start + min(column + c, params.sizes.kv_len - 1u));
            @if(transposed) let x = bias_number(bias_row(at, min(column + c, params.sizes.q_len - 1u)) + context.rows[r]);
            s[r][c] = biased(s[r][c], x);
        }
    }
    return s;
}

// Two neighbours a load. Where a row starts at an odd element every pair is made of two loads' halves; what lies behind
// the last key belongs to nobody, and is masked.
@if(bias) @if(bias_pairs) fn add_bias(scores: Scores, context: RowContext, column: u32) -> Scores {
    var s = scores;
    let last = arrayLength(&bias) - 1u;
    @unroll for (var r = 0u; r < ROWS; r++) {
        let start = bias_row(bias_place(context.b, row_head(context, r)), context.rows[r]) + column;
        let is_odd = start % 2u == 1u;
        var low = halves(bias[min(start / 2u, last)]);
        @unroll for (var n = 0u; n < KEY_PAIRS; n++) {
            let high = halves(bias[min(start / 2u + n + 1u, last)]);
            let x = bitcast<vec2<f32>>(select(low, vec2<u32>(low.y, high.x), is_odd));
            s[r][2u * n] = biased(s[r][2u * n], x.x);
            s[r][2u * n + 1u] = biased(s[r][2u * n + 1u], x.y);
            low = high;
        }
    }
    return s;
}

@if(bias) fn biased(score: f32, x: f32) -> f32 {
    return select(score + x, MASKED, x < HIDING);
}

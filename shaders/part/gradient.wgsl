// What the gradient kernels do with the scores of an invocation's rows and the KEYS columns of a step. The rows are
// queries and the columns keys, or (`transposed`) the other way round.

// (lse, Δ) of each query.
@if(transposed) alias Stats = array<vec2<f32>, KEYS>;
@if(!transposed) alias Stats = array<vec2<f32>, ROWS>;

// P = exp(S − lse)
fn probabilities(s: Scores, stats: Stats) -> Scores {
    var p = Scores();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(transposed) @unroll for (var c = 0u; c < KEYS; c++) { p[r][c] = weight(s[r][c] - stats[c].x); }
        @if(!transposed) @unroll for (var c = 0u; c < KEYS; c++) { p[r][c] = weight(s[r][c] - stats[r].x); }
    }
    return p;
}

// dS = P∘(dP − Δ)
fn score_gradients(p: Scores, dp: Scores, stats: Stats) -> Scores {
    var ds = Scores();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(transposed) @unroll for (var c = 0u; c < KEYS; c++) { ds[r][c] = p[r][c] * (dp[r][c] - stats[c].y); }
        @if(!transposed) @unroll for (var c = 0u; c < KEYS; c++) { ds[r][c] = p[r][c] * (dp[r][c] - stats[r].y); }
    }
    return ds;
}

// 0 where a pair is masked, whatever was computed there.
fn hide(weights: Scores, visible: Flags) -> Scores {
    var w = weights;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { w[r][c] = select(0.0, w[r][c], (visible[r] & (1u << c)) != 0u); }
    }
    return w;
}

// dP + dO·Vᵀ over a chunk.
fn add_value_scores(scores: Scores, rows: Column, values: Shared) -> Scores {
    var s = scores;
    @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = share_value(values, c, n);
            @unroll for (var m = 0u; m < PIECE; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += dot(rows[r][n * PIECE + m], x[m]); }
            }
        }
    }
    return s;
}

// S = Q·Kᵀ and dP = dO·Vᵀ, key by key.
@if(rolled) struct Products { s: Scores, dp: Scores }

@if(rolled) fn key_products(q: array<Column, CHUNKS>, d_o: array<Column, VALUE_CHUNKS>, keys: array<Chunk, CHUNKS>, values: array<Chunk, VALUE_CHUNKS>) -> Products {
    var products = Products();
    for (var c = 0u; c < KEYS; c++) {
        var s = KeyScores();
        var dp = KeyScores();
        @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_key_scores(s, q[d], keys[d], c); }
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_key_scores(dp, d_o[d], values[d], c); }
        products.s = put_key_scores(products.s, s, c);
        products.dp = put_key_scores(products.dp, dp, c);
    }
    return products;
}

// dQ + dS·K in a chunk.
fn add_weighted_keys(column: Column, weights: Scores, keys: Shared) -> Column {
    var sum = Column();
    @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = share_key(keys, c, n);
            @unroll for (var m = 0u; m < PIECE; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { sum[r][n * PIECE + m] += weights[r][c] * x[m]; }
            }
        }
    }
    @unroll for (var r = 0u; r < ROWS; r++) { sum[r] = sum_of(column[r], sum[r]); }
    return sum;
}

// dV + Pᵀ·dO in a chunk.
@if(transposed) fn add_weighted_values(column: Column, weights: Scores, values: Shared) -> Column {
    var sum = Column();
    @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = share_value(values, c, n);
            @unroll for (var m = 0u; m < PIECE; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { sum[r][n * PIECE + m] += weights[r][c] * x[m]; }
            }
        }
    }
    @unroll for (var r = 0u; r < ROWS; r++) { sum[r] = sum_of(column[r], sum[r]); }
    return sum;
}

// What no step with masked pairs may multiply by 0.
fn is_spoilt(x: Chunk, masked: bool) -> bool {
    return masked && is_unbounded(x);
}

fn spoil_gradient(x: vec4<f32>, spoilt: u32) -> vec4<f32> {
    var nan = NAN_BITS;
    return select(x, vec4<f32>(bitcast<f32>(nan)), spoilt != 0u);
}

// The start of a row that this tile has no part in.
const NOT_OWNED = 0xffffffffu;

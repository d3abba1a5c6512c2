// What the gradient kernels do with the scores of an invocation's rows and the KEYS columns of a step. The rows are
// queries and the columns keys, or (`transposed`) the other way round.

// (lse, Δ) of each query.
@if(transposed) alias Stats = array<vec2<f32>, KEYS>;
@if(!transposed) alias Stats = array<vec2<f32>, ROWS>;

@if(!transposed) fn row_stats(context: RowContext) -> Stats {
    var of_rows = Stats();
    let at = stats_place(context.b, context.h);
    @unroll for (var r = 0u; r < ROWS; r++) { of_rows[r] = stats[stats_row(at, context.rows[r])]; }
    return of_rows;
}

// P = exp(S − lse)
fn probabilities(s: Scores, stats: Stats) -> Scores {
    var p = Scores();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(transposed) @unroll for (var c = 0u; c < KEYS; c++) { p[r][c] = share_of_row(s[r][c] - stats[c].x); }
        @if(!transposed) @unroll for (var c = 0u; c < KEYS; c++) { p[r][c] = share_of_row(s[r][c] - stats[r].x); }
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

// Which gradients of rows are no finite numbers: those of rows that see a column that is none.
fn nonfinite_rows(before: Flags, visible: Flags, columns: u32) -> Flags {
    var nonfinite = before;
    @unroll for (var r = 0u; r < ROWS; r++) { nonfinite[r] |= visible[r] & columns; }
    return nonfinite;
}

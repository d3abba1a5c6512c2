// The scores of one column of a step, whose number no compiler knows.

alias ColumnScores = array<f32, ROWS>;

fn add_column_scores(scores: ColumnScores, rows: RowFragment, columns: Shared, c: u32) -> ColumnScores {
    var s = ColumnScores();
    @unroll for (var n = 0u; n < SHARES; n++) {
        let x = share(columns, c, n);
        @unroll for (var m = 0u; m < SHARE_VEC4S; m++) {
            @unroll for (var r = 0u; r < ROWS; r++) { s[r] += dot(rows[r][n * SHARE_VEC4S + m], x[m]); }
        }
    }
    @unroll for (var r = 0u; r < ROWS; r++) { s[r] += scores[r]; }
    return s;
}

// Software adapters select faster than they index.
fn put_column_scores(scores: Scores, of_column: ColumnScores, c: u32) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var e = 0u; e < KEYS; e++) { s[r][e] = select(s[r][e], of_column[r], e == c); }
    }
    return s;
}

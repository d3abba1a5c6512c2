// The scores of an invocation's rows and those OWN_KEYS of a step's columns that it has scores of: all KEYS, unless
// the strategy spreads them over the invocations of a row.

alias Scores = array<array<f32, OWN_KEYS>, ROWS>;
// Bit c of a row's flags: column c.
alias Flags = array<u32, ROWS>;

// Which of the keys from j on the rows see.
fn visible_flags(context: RowContext, j: u32) -> Flags {
    var flags = Flags();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { flags[r] |= select(0u, 1u << c, is_visible(context.visible[r], j + c)); }
    }
    @if(mask_mod) flags = mask_by_mod(flags, context, j);
    return flags;
}

// Which of the keys of a step the rows see, by scores that masks, bias and score_mod have had their say in. A NaN is visible.
fn visible_scores(scores: Scores) -> Flags {
    var flags = Flags();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { flags[r] |= select(1u << c, 0u, scores[r][c] < LOWEST); }
    }
    return flags;
}

fn mask_scores(scores: Scores, visible: Flags) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < OWN_KEYS; c++) { s[r][c] = select(MASKED, s[r][c], (visible[r] & (1u << c)) != 0u); }
    }
    return s;
}

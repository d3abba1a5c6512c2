// The scores of an invocation's rows and the KEYS keys of a step, as whole values: the text of a product stands once
// (naga's time grows with the square of a function's length), and every index in it is a constant.

// One chunk of channels of each row.
alias Column = array<Chunk, ROWS>;
alias Scores = array<array<f32, KEYS>, ROWS>;
// Bit c of a row's flags: key c.
alias Flags = array<u32, ROWS>;

// `column`, or `other` where `here`.
fn select_column(column: Column, other: Column, here: bool) -> Column {
    var x = column;
    @unroll for (var r = 0u; r < ROWS; r++) { x[r] = select_chunk(x[r], other[r], here); }
    return x;
}

// The chunks of `dim` channels that an invocation has. No compiler knows it, so none unrolls a loop up to it.
fn chunks_of(dim: u32, most: u32) -> u32 {
    return min((dim + CHUNK * LANES - 1u) / (CHUNK * LANES), most);
}

// S + Q·Kᵀ over a chunk.
fn add_scores(scores: Scores, q: Column, keys: Shared) -> Scores {
    var s = scores;
    @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = share_key(keys, c, n);
            @unroll for (var m = 0u; m < PIECE; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += dot(q[r][n * PIECE + m], x[m]); }
            }
        }
    }
    return s;
}

// The same of key c alone: `rolled` takes the keys of a step in a loop, whose text is a KEYS-th as long.
@if(rolled) alias KeyScores = array<f32, ROWS>;

@if(rolled) fn add_key_scores(scores: KeyScores, q: Column, keys: Shared, c: u32) -> KeyScores {
    var s = KeyScores();
    @unroll for (var n = 0u; n < PIECES; n++) {
        let x = share_key(keys, c, n);
        @unroll for (var m = 0u; m < PIECE; m++) {
            @unroll for (var r = 0u; r < ROWS; r++) { s[r] += dot(q[r][n * PIECE + m], x[m]); }
        }
    }
    @unroll for (var r = 0u; r < ROWS; r++) { s[r] += scores[r]; }
    return s;
}

// Software adapters select faster than they index.
@if(rolled) fn put_key_scores(scores: Scores, of_key: KeyScores, c: u32) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var e = 0u; e < KEYS; e++) { s[r][e] = select(s[r][e], of_key[r], e == c); }
    }
    return s;
}

// O·shrink + P·V in a chunk. The step's part is summed by itself, here and in the gradients: a sum over all keys that
// grows by one product at a time would round as often as there are keys. Of many rows four channels at once are more
// sums than a software adapter's processor has registers: `by_channel` takes one channel at a time (D = 64, 8 rows, a
// Zen 3: 72 to 66 ms).
fn add_values(column: Column, shrink: array<f32, ROWS>, p: Scores, values: Shared) -> Column {
    var sum = Column();
    @if(!by_channel) @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var c = 0u; c < KEYS; c++) {
            let x = share_value(values, c, n);
            @unroll for (var m = 0u; m < PIECE; m++) {
                @unroll for (var r = 0u; r < ROWS; r++) { sum[r][n * PIECE + m] += p[r][c] * x[m]; }
            }
        }
    }
    @if(by_channel) @unroll for (var n = 0u; n < PIECES; n++) {
        @unroll for (var e = 0u; e < 4u; e++) {
            @unroll for (var c = 0u; c < KEYS; c++) {
                let x = share_value(values, c, n)[0u][e];
                @unroll for (var r = 0u; r < ROWS; r++) { sum[r][n][e] += p[r][c] * x; }
            }
        }
    }
    var o = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { o[r] = sum_of(scaled(column[r], shrink[r]), sum[r]); }
    return o;
}

// What the invocations that share a row have of its scores, summed.
@if(shared_rows) fn sum_over_rows(scores: Scores) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = sum_over_row(s[r][c]); }
    }
    return s;
}

// Which of the keys from j on the rows see.
fn visible_flags(seen: array<Interval, ROWS>, place: Place, j: u32) -> Flags {
    var flags = Flags();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { flags[r] |= select(0u, 1u << c, is_visible(seen[r], j + c)); }
    }
    @if(mask_mod) flags = mask_by_mod(flags, place, j);
    return flags;
}

// Which of the keys of a step the rows see, by scores that masks, bias and score_mod have had their say in. A NaN is seen.
fn seen_scores(scores: Scores) -> Flags {
    var flags = Flags();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { flags[r] |= select(1u << c, 0u, scores[r][c] < LOWEST); }
    }
    return flags;
}

fn mask_scores(scores: Scores, visible: Flags) -> Scores {
    var s = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = select(MASKED, s[r][c], (visible[r] & (1u << c)) != 0u); }
    }
    return s;
}

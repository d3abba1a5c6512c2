// Scores of rows that LANES neighbouring invocations share, each of which has a part of the channels: summed through
// workgroup memory.

// What each invocation has of a step's scores, in two places by turns: who writes to one is past the barrier of the
// other, before which all have read it.
@if(shared_rows) var<workgroup> score_parts: array<Scores, SCORE_PARTS>;

@if(shared_rows) var<private> parts_place: u32 = 0u;

@if(!shared_rows) fn sum_over_rows(scores: Scores) -> Scores {
    return scores;
}

// The sum has the same order in all invocations of a row, so they go on with the same bits. In uniform control flow.
@if(shared_rows) fn sum_over_rows(scores: Scores) -> Scores {
    parts_place = INVOCATIONS - parts_place;
    score_parts[parts_place + invocation_index] = scores;
    workgroupBarrier();
    let first = parts_place + invocation_index - own_part();
    var s = Scores();
    for (var n = 0u; n < LANES; n++) {
        let part = score_parts[first + n];
        @unroll for (var r = 0u; r < ROWS; r++) {
            @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] += part[r][c]; }
        }
    }
    return s;
}

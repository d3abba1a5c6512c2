// Tiles of columns in workgroup memory.

import strategy::whole_steps;

struct Invocation { @builtin(local_invocation_index) index: u32 }

// Bit n: column n of the tile is no finite number in a step that has masked pairs; it is staged as 0. Two words are used
// by turns, so that one is emptied while the other is filled.
var<workgroup> tile_marks: array<atomic<u32>, 2>;

var<private> invocation_index: u32 = 0u;
// Which word is the tile's.
var<private> marks_word: u32 = 0u;

fn start_strategy(own: Invocation) {
    invocation_index = own.index;
    if (own.index == 0u) { atomicStore(&tile_marks[1], 0u); }
}

// Stages columns j … j + TILE − 1, in uniform control flow.
fn begin_tile(stream: Stream, j: u32, bounds: Bounds, hides: bool) {
    workgroupBarrier();
    marks_word ^= 1u;
    if (invocation_index == 0u) { atomicStore(&tile_marks[marks_word ^ 1u], 0u); }
    head_stage(stream, j, bounds, hides);
    value_stage(stream, j, bounds, hides);
    workgroupBarrier();
}

// x, or 0 and a mark for column n of the tile where x is no finite number and its step has masked pairs.
fn stage_finite(x: Chunk, masked: bool, hides: bool, j: u32, n: u32, bounds: Bounds) -> Chunk {
    let step = j + n / KEYS * KEYS;
    let nonfinite = masked && is_nonfinite(x) && (hides || !all_visible(bounds, step, step + KEYS - 1u));
    if (nonfinite) { atomicOr(&tile_marks[marks_word], 1u << n); }
    return select_chunk(x, Chunk(), nonfinite);
}

// The first of a step's columns in its tile.
struct Step { first: u32 }

fn begin_step(stream: Stream, j: u32, g: u32, hides: bool) -> Step {
    return Step(g * KEYS);
}

// Where in its tile the chunk of the step's first column lies.
alias Shared = u32;

// Bit c: column c of the step was staged as 0.
fn nonfinite_columns(step: Step) -> u32 {
    return atomicLoad(&tile_marks[marks_word]) >> step.first;
}

@if(transposed) fn column_stats(stream: Stream, j: u32) -> Stats {
    var stats = Stats();
    @unroll for (var c = 0u; c < KEYS; c++) { stats[c] = streamed_stats(stream, min(j + c, streamed_len() - 1u)); }
    return stats;
}

// Marks are of whole columns, so all that share a row have the same.
fn marks_of_rows(own: Flags) -> Flags {
    return own;
}

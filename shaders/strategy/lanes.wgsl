// Columns live in lanes: each invocation of a cluster of WIDTH holds its part of one column's channels, and the cluster
// reads them by shuffle.

import strategy::cluster;
import strategy::whole_steps;

// What the invocation loads of a step: its column; whether pairs of it may be hidden, and whether what was loaded is no
// finite number there. What scores were made of and a sum is to have, too, it keeps.
struct Step {
    column: StreamedRow,
    hides: bool,
    nonfinite: bool,
    @if(head_rows) @if(head_sum) head_kept: array<Chunk, HEAD_CHUNKS>,
    @if(value_rows) @if(value_sum) value_kept: array<Chunk, VALUE_CHUNKS>,
}

// Lanes load in each step.
fn begin_tile(stream: Stream, j: u32, bounds: Bounds, hides: bool) {}

fn begin_step(stream: Stream, j: u32, g: u32, hides: bool) -> Step {
    var step = Step();
    step.column = streamed_row(stream, own_column(j));
    step.hides = hides;
    return step;
}

// The one of the columns from j on that this invocation loads.
fn own_column(j: u32) -> u32 {
    return min(j + lane % WIDTH / LANES, streamed_len() - 1u);
}

// What an invocation brings to the cluster: a chunk of its column.
alias Shared = Chunk;

// Four channels of what the invocation with column c and the same channels brought.
alias Share = array<vec4<f32>, 1>;

fn share(own: Shared, c: u32, n: u32) -> Share {
    return Share(subgroupShuffle(own[n], source_lane(c)));
}

fn source_lane(c: u32) -> u32 {
    @if(fixed_source) return c;
    @if(!fixed_source) return (lane & ~(WIDTH - 1u)) + c * LANES + lane % LANES;
}

// Bit c: column c is no finite number in the invocation's channels.
fn nonfinite_columns(step: Step) -> u32 {
    var flags = 0u;
    @unroll for (var c = 0u; c < KEYS; c++) {
        flags |= subgroupShuffle(select(0u, 1u, step.nonfinite), source_lane(c)) << c;
    }
    return flags;
}

@if(transposed) fn column_stats(stream: Stream, j: u32) -> Stats {
    var stats = Stats();
    let own = streamed_stats(stream, own_column(j));
    @unroll for (var c = 0u; c < KEYS; c++) { stats[c] = subgroupShuffle(own, source_lane(c)); }
    return stats;
}

// What the invocations that share a row have of its scores, summed.
fn sum_over_rows(scores: Scores) -> Scores {
    @if(!shared_rows) return scores;
    @if(shared_rows) var s = scores;
    @if(shared_rows) @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = sum_over_row(s[r][c]); }
    }
    @if(shared_rows) return s;
}

@if(shared_rows) fn sum_over_row(x: f32) -> f32 {
    var sum = x;
    @if(lanes_2) sum += subgroupShuffleXor(sum, 1u);
    @if(lanes_4) sum += subgroupShuffleXor(sum, 2u);
    @if(lanes_8) sum += subgroupShuffleXor(sum, 4u);
    @if(lanes_16) sum += subgroupShuffleXor(sum, 8u);
    return sum;
}

// The marks of the invocations that share a row, together.
fn marks_of_rows(own: Flags) -> Flags {
    var marks = own;
    @if(shared_rows) @unroll for (var r = 0u; r < ROWS; r++) {
        @if(lanes_2) marks[r] |= subgroupShuffleXor(marks[r], 1u);
        @if(lanes_4) marks[r] |= subgroupShuffleXor(marks[r], 2u);
        @if(lanes_8) marks[r] |= subgroupShuffleXor(marks[r], 4u);
        @if(lanes_16) marks[r] |= subgroupShuffleXor(marks[r], 8u);
    }
    return marks;
}

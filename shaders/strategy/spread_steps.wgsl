// A step's columns spread over the lanes of a cluster: an invocation has the scores of one.

import strategy::cluster;

// The columns from `first` on. `marks`: bit c, column c is no finite number in the invocation's channels, in a step of
// which pairs may be hidden. Where rows are looked up (`looked_up`) an invocation does that for its own column, once per step.
// Of rows whose chunks come without their scale (`bare`) an invocation reads that of its own column: once per
// step in place of once per chunk.
struct Step {
    stream: Stream,
    first: u32,
    hides: bool,
    marks: u32,
    @if(looked_up) own: StreamedRow,
    @if(head_bare) head_scale: f32,
    @if(value_bare) value_scale: f32,
}

// Products load what they multiply.
fn begin_tile(stream: Stream, j: u32, bounds: Bounds, hides: bool) {}

fn begin_step(stream: Stream, j: u32, g: u32, hides: bool) -> Step {
    var step = Step();
    step.stream = stream;
    step.first = j;
    step.hides = hides;
    @if(looked_up) step.own = own_streamed_row(stream, j);
    @if(head_bare) step.head_scale = head_scale(own_streamed_row(stream, j));
    @if(value_bare) let scale = value_scale(own_streamed_row(stream, j));
    @if(value_bare) let nonfinite = hides & any_nonfinite(vec4<f32>(scale));
    @if(value_bare) step.value_scale = select(scale, 0.0, nonfinite);
    @if(value_bare) step.marks = select(0u, 1u << (lane % WIDTH), nonfinite);
    return step;
}

// The one of the columns from j on that the invocation has scores of.
fn own_columns(j: u32) -> u32 {
    return j + lane % WIDTH;
}

fn own_streamed_row(stream: Stream, j: u32) -> StreamedRow {
    return streamed_row(stream, min(own_columns(j), streamed_len() - 1u));
}

// What the invocation with column c has.
fn of_column(x: f32, c: u32) -> f32 {
    @if(fixed_source) return subgroupShuffle(x, c);
    @if(!fixed_source) return subgroupShuffle(x, (lane & ~(WIDTH - 1u)) + c);
}

@if(looked_up) fn word_of_column(x: u32, c: u32) -> u32 {
    @if(fixed_source) return subgroupShuffle(x, c);
    @if(!fixed_source) return subgroupShuffle(x, (lane & ~(WIDTH - 1u)) + c);
}

// Bit 0: the invocation's column is no finite number in any channel.
fn nonfinite_columns(step: Step) -> u32 {
    return (columns_marks(step.marks) >> (lane % WIDTH)) & 1u;
}

fn columns_max(x: f32) -> f32 {
    var most = max(x, subgroupShuffleXor(x, 1u));
    most = max(most, subgroupShuffleXor(most, 2u));
    @if(lanes_8) most = max(most, subgroupShuffleXor(most, 4u));
    @if(lanes_16) most = max(most, subgroupShuffleXor(most, 8u));
    @if(lanes_32) most = max(most, subgroupShuffleXor(most, 16u));
    return most;
}

fn columns_sum(x: f32) -> f32 {
    var sum = x + subgroupShuffleXor(x, 1u);
    sum += subgroupShuffleXor(sum, 2u);
    @if(lanes_8) sum += subgroupShuffleXor(sum, 4u);
    @if(lanes_16) sum += subgroupShuffleXor(sum, 8u);
    @if(lanes_32) sum += subgroupShuffleXor(sum, 16u);
    return sum;
}

fn columns_marks(x: u32) -> u32 {
    var marks = x | subgroupShuffleXor(x, 1u);
    marks |= subgroupShuffleXor(marks, 2u);
    @if(lanes_8) marks |= subgroupShuffleXor(marks, 4u);
    @if(lanes_16) marks |= subgroupShuffleXor(marks, 8u);
    @if(lanes_32) marks |= subgroupShuffleXor(marks, 16u);
    return marks;
}

// The sum over the cluster of what its invocations have of the own column: in each round an invocation gives half of its
// columns away and takes the other's part of those that it keeps.
fn sum_of_own(parts: array<f32, KEYS>) -> f32 {
    @if(lanes_32) let of_16 = half_of_32(parts);
    @if(!lanes_32) let of_16 = parts;
    @if(lanes_16) let of_8 = half_of_16(of_16);
    @if(!lanes_16) let of_8 = of_16;
    @if(lanes_8) let of_4 = half_of_8(of_8);
    @if(!lanes_8) let of_4 = of_8;
    let of_2 = half_of_4(of_4);
    return kept(of_2[0], of_2[1], 1u);
}

@if(lanes_32) fn half_of_32(x: array<f32, 32>) -> array<f32, 16> {
    var y = array<f32, 16>();
    @unroll for (var c = 0u; c < 16u; c++) { y[c] = kept(x[c], x[c + 16u], 16u); }
    return y;
}

@if(lanes_16) fn half_of_16(x: array<f32, 16>) -> array<f32, 8> {
    var y = array<f32, 8>();
    @unroll for (var c = 0u; c < 8u; c++) { y[c] = kept(x[c], x[c + 8u], 8u); }
    return y;
}

@if(lanes_8) fn half_of_8(x: array<f32, 8>) -> array<f32, 4> {
    var y = array<f32, 4>();
    @unroll for (var c = 0u; c < 4u; c++) { y[c] = kept(x[c], x[c + 4u], 4u); }
    return y;
}

fn half_of_4(x: array<f32, 4>) -> array<f32, 2> {
    return array<f32, 2>(kept(x[0], x[2], 2u), kept(x[1], x[3], 2u));
}

// Of a column with `bit` clear and one with it set, the one that agrees with the lane, summed over both lanes.
fn kept(low: f32, high: f32, bit: u32) -> f32 {
    let upper = (lane & bit) != 0u;
    return select(low, high, upper) + subgroupShuffleXor(select(high, low, upper), bit);
}

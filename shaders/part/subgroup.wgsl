// Keys live in lanes: each invocation of a cluster of WIDTH holds its part of one key's (or value's) channels, and
// the cluster reads them by shuffle. Assumes that a subgroup holds whole clusters (WIDTH ≤ subgroup_min_size) and
// that invocations of a workgroup are numbered along its subgroups.

var<private> lane: u32 = 0u;

fn start_strategy(subgroup_lane: u32) {
    lane = subgroup_lane;
}

// Which of the step's KEYS keys this invocation loads.
fn own_key() -> u32 {
    return lane % WIDTH / LANES;
}

// What an invocation brings to the cluster: a chunk of its key.
alias Shared = Chunk;

// Four channels of what the invocation with key c and the same channels brought.
alias Piece = array<vec4<f32>, 1>;

fn share_key(own: Shared, c: u32, piece: u32) -> Piece {
    return Piece(subgroupShuffle(own[piece], source_lane(c)));
}

fn share_value(own: Shared, c: u32, piece: u32) -> Piece {
    return Piece(subgroupShuffle(own[piece], source_lane(c)));
}

@if(transposed) fn share_pair(own: vec2<f32>, c: u32) -> vec2<f32> {
    return subgroupShuffle(own, source_lane(c));
}

fn source_lane(c: u32) -> u32 {
    @if(fixed_source) return c;
    @if(!fixed_source) return (lane & ~(WIDTH - 1u)) + c * LANES + lane % LANES;
}

// Bit c tells whether the invocation with key c and the same channels says `own`.
fn share_flags(own: bool) -> u32 {
    var flags = 0u;
    @unroll for (var c = 0u; c < KEYS; c++) {
        flags |= subgroupShuffle(select(0u, 1u, own), source_lane(c)) << c;
    }
    return flags;
}

// The sum over the invocations that share a row.
fn sum_over_row(x: f32) -> f32 {
    var sum = x;
    @if(lanes_2) sum += subgroupShuffleXor(sum, 1u);
    @if(lanes_4) sum += subgroupShuffleXor(sum, 2u);
    @if(lanes_8) sum += subgroupShuffleXor(sum, 4u);
    @if(lanes_16) sum += subgroupShuffleXor(sum, 8u);
    return sum;
}

// The marks of the invocations that share a row, together.
@if(gradient) fn or_over_row(x: u32) -> u32 {
    var marks = x;
    @if(lanes_2) marks |= subgroupShuffleXor(marks, 1u);
    @if(lanes_4) marks |= subgroupShuffleXor(marks, 2u);
    @if(lanes_8) marks |= subgroupShuffleXor(marks, 4u);
    @if(lanes_16) marks |= subgroupShuffleXor(marks, 8u);
    return marks;
}

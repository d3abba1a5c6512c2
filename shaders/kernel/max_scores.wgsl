// The largest of up to RUN scores, of which count lie behind each other: of the parts of a row's keys, of the rows of a
// head, of batches. An invocation owns one answer.

import part::params;
import part::item;
import part::numbers;
import slot::address for y;

@bind var<uniform> params: Params;
@bind var<storage, read> scores: array<u32>;
@bind var<storage, read_write> y: array<u32>;

fn y_strides() -> StridesParams { return params.y; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let item = item_of(own);
    if (item >= params.work.end) { return; }
    let beside = item % params.partials.stride;
    let runs = max((params.partials.count + RUN - 1u) / RUN, 1u);
    let first = item / params.partials.stride % runs * RUN;
    let start = item / params.partials.stride / runs * params.partials.count;

    var most = rank_of(NEGATIVE_INFINITY_BITS);
    for (var n = first; n < min(first + RUN, params.partials.count); n++) {
        most = max(most, rank_of(scores[params.partials.begin + (start + n) * params.partials.stride + beside]));
    }
    let row = head_item(item, params.range.q_end - params.range.q_begin);
    y[y_row(y_place(row.b, row.h), params.range.q_begin + row.n)] = score_of(most);
}

// Bits of f32 as whole numbers in their order, a NaN above all: floats are compared by bits, for WGSL lets a compiler
// assume that there is no NaN.
fn rank_of(bits: u32) -> u32 {
    let rank = select(bits | SIGN, ~bits, (bits & SIGN) != 0u);
    return select(rank, NAN_RANK, (bits & ~SIGN) > INFINITY_BITS);
}

fn score_of(rank: u32) -> u32 {
    return select(select(~rank, rank & ~SIGN, (rank & SIGN) != 0u), NAN_BITS, rank == NAN_RANK);
}

const SIGN = 0x80000000u;
const INFINITY_BITS = 0x7f800000u;
const NAN_RANK = 0xffffffffu;

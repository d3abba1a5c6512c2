// Moves f32 rows to a tensor of any layout and element: contiguous ones in their order, or those of a table by each
// token's position. An invocation owns one word of the tensor's buffer, so words that rows share are written by one,
// and what lies between rows stays as it is.

import part::params;
import part::item;
import slot::o_element for o;

@bind var<uniform> params: Params;
@bind var<storage, read> source: array<f32>;
@bind var<storage, read_write> o: array<u32>;
@bind var<storage, read> aux: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    @if(!half_output) pack_word(params.y.start + n);
    @if(half_output) pack_pair(params.y.start / 2u + n);
}

@if(!half_output) fn pack_word(at: u32) {
    let place = source_index(at);
    @if(!add) if (place != NOT_THERE) { o[at] = bitcast<u32>(source[place]); }
    @if(add) if (place != NOT_THERE) { o[at] = bitcast<u32>(bitcast<f32>(o[at]) + source[place]); }
}

@if(half_output) fn pack_pair(word: u32) {
    let low = source_index(2u * word);
    let high = source_index(2u * word + 1u);
    let old = o[word];
    @if(add) let base = o_unpack(old);
    @if(!add) let base = vec2<f32>();
    let next = o_pack(base + vec2<f32>(source[low], source[high]));
    let keep = select(0xffffu, 0u, low != NOT_THERE) | select(0xffff0000u, 0u, high != NOT_THERE);
    o[word] = (old & keep) | (next & ~keep);
}

// The element of the source that belongs at element `at` of the tensor, or NOT_THERE.
const NOT_THERE = 0xffffffffu;

fn source_index(at: u32) -> u32 {
    if (at < params.y.start) { return NOT_THERE; }
    // Strides are nested, so the coordinates come off from the largest stride down.
    var left = at - params.y.start;
    var place = array<u32, 3>();
    @unroll for (var n = 0u; n < 3u; n++) {
        let axis = axis_of(n);
        if (axis.size > 1u) {
            place[n] = min(left / axis.stride, axis.size - 1u);
            left -= place[n] * axis.stride;
        }
    }
    if (left >= params.packing.dim) { return NOT_THERE; }
    var row = place[0] * axis_of(0u).rows + place[1] * axis_of(1u).rows + place[2] * axis_of(2u).rows;
    @if(by_position) row = u32(clamp(position_of(row), 0, i32(params.packing.table_rows) - 1));
    return row * params.packing.dim + left;
}

// The position of token `row` of all batches.
@if(by_position) fn position_of(row: u32) -> i32 {
    @if(positions_given) return bitcast<i32>(aux[params.positions.q_at + row]);
    @if(!positions_given) return params.packing.table_start + i32(row % params.sizes.q_len);
}

// `rows`: rows of the source between neighbours on this axis.
struct Axis { size: u32, stride: u32, rows: u32 }

// The axes from the largest stride down; `splits` holds their order, two bits each.
fn axis_of(n: u32) -> Axis {
    let rows = params.range.q_end - params.range.q_begin;
    switch (params.packing.order >> (2u * n)) & 3u {
        case 0u: { return Axis(params.sizes.batch, params.y.batch, params.sizes.q_heads * rows); }
        case 1u: { return Axis(params.sizes.q_heads, params.y.head, rows); }
        default: { return Axis(rows, params.y.row, 1u); }
    }
}

// Moves f32 rows to a tensor of any layout and element: contiguous ones in their order, or those of a table by each
// token's position. An invocation owns one word of the tensor's buffer, so words that rows share are written by one,
// and what lies between rows stays as it is.

import part::params;
import part::item;
import slot::o_element for o;
import address::strided_inverse for o;

@bind var<uniform> params: Params;
@bind var<storage, read> source: array<f32>;
@bind var<storage, read_write> o: array<u32>;
@bind var<storage, read> aux: array<u32>;

fn o_sizes() -> array<u32, 3> {
    return array<u32, 3>(params.sizes.batch, params.sizes.q_heads, params.range.q_end - params.range.q_begin);
}
fn o_strides() -> StridesParams { return params.y; }
fn o_order() -> u32 { return params.packing.order; }

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
    let element = o_element_at(at);
    if (element.channel >= params.packing.dim) { return NOT_THERE; }
    var row = element.row;
    @if(by_position) row = u32(clamp(position_of(row), 0, i32(params.packing.table_rows) - 1));
    return params.packing.start + row * params.packing.dim + element.channel;
}

// The position of token `row` of all batches.
@if(by_position) fn position_of(row: u32) -> i32 {
    @if(positions_given) return bitcast<i32>(aux[params.positions.q_at + row]);
    @if(!positions_given) return params.packing.table_start + i32(row % params.sizes.q_len);
}

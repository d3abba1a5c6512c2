// Rotates rows by their positions (RoPE, 2104.09864). An invocation owns a chunk of channels, or two that are rotated together,
// of a token in HEADS heads: they are rotated alike, and which an invocation has takes six divisions to tell.

import part::params;
import part::item;
import part::numbers;
import part::chunk;
import position::table;
import slot::x_rows for x;
import slot::o_rows for o;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<x_word>;
@group(0) @binding(2) var<storage, read_write> o: array<o_word>;
@group(0) @binding(3) var<storage, read> aux: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<Staged>;

fn x_dim() -> u32 { return params.head_dim; }
fn o_dim() -> u32 { return params.head_dim; }
fn x_strides() -> Rows { return params.q; }
fn o_strides() -> Rows { return params.o; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work_end) { return; }
    let chunks = (params.head_dim + CHUNK - 1u) / CHUNK;
    @if(whole_halves) let half = params.rotary_dim / (2u * CHUNK);
    // Of the half layout the first halves come with their partners, then the channels that are not rotated.
    @if(whole_halves) let items = chunks - half;
    @if(!whole_halves) let items = chunks;
    let item = n % items;
    let rows = params.q_end - params.q_begin;
    let i = params.q_begin + n / items % rows;
    let parts = (params.q_heads + HEADS - 1u) / HEADS;
    let part = n / items / rows;
    let b = part / parts;
    let first_head = part % parts * HEADS;
    let rotation = table_row(position_of(b, i)) + params.table_side_at;

    @if(whole_halves) let rotations = half_rotations(rotation + CHUNK * min(item, half - 1u));
    @if(whole_interleaved) let rotations = neighbour_rotations(rotation + CHUNK / 2u * min(item, params.rotary_dim / CHUNK - 1u));
    for (var h = first_head; h < min(first_head + HEADS, params.q_heads); h++) {
        let x_start = x_row(x_place(b, h), i);
        let o_start = o_row(o_place(b, h), i);
        @if(whole_halves) rotate_halves(x_start, o_start, item, half, rotations);
        @if(whole_interleaved) rotate_neighbours(x_start, o_start, item, rotations);
        @if(!whole_chunks) o_store(o_start, item, rotate_channels(x_start, 4u * item, rotation));
    }
}

fn position_of(b: u32, i: u32) -> i32 {
    @if(positions_given) return bitcast<i32>(aux[params.q_rotations_at + b * params.q_len + i]);
    @if(!positions_given) return bitcast<i32>(aux[params.offsets_at + b]) + i32(i);
}

@if(whole_halves) fn rotate_halves(x_start: u32, o_start: u32, item: u32, half: u32, rotations: Rotations) {
    let y = loaded(x_chunk(x_start, item + half));
    if (item >= half) {
        store(o_start, item + half, y);
        return;
    }
    let x = loaded(x_chunk(x_start, item));
    store(o_start, item, rotated(x, scaled(y, -1.0), rotations));
    store(o_start, item + half, rotated(y, x, rotations));
}

@if(whole_interleaved) fn rotate_neighbours(x_start: u32, o_start: u32, item: u32, rotations: Rotations) {
    let x = loaded(x_chunk(x_start, item));
    if (CHUNK * item >= params.rotary_dim) {
        store(o_start, item, x);
        return;
    }
    store(o_start, item, rotated(x, neighbours(x), rotations));
}

@if(whole_chunks) fn store(o_start: u32, chunk: u32, x: Chunk) {
    @if(!vec8) o_store(o_start, chunk, x[0]);
    @if(vec8) o_store(o_start, chunk, x);
}

// Four channels one by one, for rotary dimensions that do not fall into whole 4-vectors.
@if(!whole_chunks) fn rotate_channels(x_start: u32, first: u32, rotation: u32) -> vec4<f32> {
    return vec4<f32>(
        rotate_channel(x_start, first, rotation),
        rotate_channel(x_start, first + 1u, rotation),
        rotate_channel(x_start, first + 2u, rotation),
        rotate_channel(x_start, first + 3u, rotation),
    );
}

@if(!whole_chunks) fn rotate_channel(x_start: u32, c: u32, rotation: u32) -> f32 {
    let x = channel(x_start, c);
    if (c >= params.rotary_dim) { return x; }
    let half = params.rotary_dim / 2u;
    @if(half_pairs) let is_first = c < half;
    @if(half_pairs) let partner = select(c - half, c + half, is_first);
    @if(half_pairs) let at = rotation + select(c - half, c, is_first);
    @if(!half_pairs) let is_first = c % 2u == 0u;
    @if(!half_pairs) let partner = c ^ 1u;
    @if(!half_pairs) let at = rotation + c / 2u;
    let y = channel(x_start, partner);
    let pair = table[at / 2u];
    let t = select(pair.xy, pair.zw, at % 2u == 1u);
    return x * t.x + select(y, -y, is_first) * params.table_sine * t.y;
}

@if(!whole_chunks) fn channel(x_start: u32, c: u32) -> f32 {
    let x = x_chunk(x_start, min(c, params.head_dim - 1u) / 4u);
    let low = select(x.x, x.y, c % 4u == 1u);
    let high = select(x.z, x.w, c % 4u == 3u);
    return select(low, high, c % 4u >= 2u);
}

// Rotates rows by their positions (RoPE, 2104.09864). An invocation owns a chunk of channels, or two that are rotated together,
// of a token in HEADS heads: they are rotated alike, and which an invocation has takes six divisions to tell.

import part::params;
import part::item;
import part::numbers;
import part::chunk;
import position::table;
@if(sequences) import part::search;
import slot::x_rows for x;
import slot::o_rows for o;

@bind var<uniform> params: Params;
@bind var<storage, read> x: array<x_word>;
@bind var<storage, read_write> o: array<o_word>;
@bind var<storage, read> aux: array<u32>;
@bind var<storage, read> table: array<Staged>;

fn x_dim() -> u32 { return params.sizes.head_dim; }
fn o_dim() -> u32 { return params.sizes.head_dim; }
fn x_strides() -> StridesParams { return params.x; }
fn o_strides() -> StridesParams { return params.y; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let chunks = (params.sizes.head_dim + CHUNK - 1u) / CHUNK;
    @if(whole_halves) let half = params.rotation.dim / (2u * CHUNK);
    @if(whole_chunks) let start = params.rotation.first / CHUNK;
    // Of the half layout the first halves come with their partners, then the channels that are not rotated.
    @if(whole_halves) let items = chunks - half;
    @if(!whole_halves) let items = chunks;
    let item = n % items;
    let rows = params.range.q_end - params.range.q_begin;
    let i = params.range.q_begin + n / items % rows;
    let parts = (params.sizes.q_heads + HEADS - 1u) / HEADS;
    let part = n / items / rows;
    let b = part / parts;
    let first_head = part % parts * HEADS;
    let rotation = table_row(position_of(b, i)) + params.rotation.side_at;

    @if(whole_halves) let rotations = half_rotations(rotation + CHUNK * min(item, max(half, 1u) - 1u));
    // The interleaved layout's chunk among those that are rotated; before the first this wraps beyond the last.
    @if(whole_interleaved) let among = item - start;
    @if(whole_interleaved) let rotations = neighbour_rotations(rotation + CHUNK / 2u * min(among, max(params.rotation.dim / CHUNK, 1u) - 1u));
    for (var h = first_head; h < min(first_head + HEADS, params.sizes.q_heads); h++) {
        let x_start = x_row(x_place(b, h), i);
        let o_start = o_row(o_place(b, h), i);
        @if(whole_halves) rotate_halves(x_start, o_start, item, start, half, rotations);
        @if(whole_interleaved) rotate_neighbours(x_start, o_start, item, among, rotations);
        @if(!whole_chunks) o_store(o_start, item, rotate_channels(x_start, 4u * item, rotation));
    }
}

fn position_of(b: u32, i: u32) -> i32 {
    // Rows of a ragged batch are one batch of all of them here, so each has its own number.
    @if(positions_given) return bitcast<i32>(aux[params.rotation.q_at + b * params.sizes.q_len + i]);
    @if(!positions_given) @if(!sequences) return bitcast<i32>(aux[params.intervals.offsets_at + b]) + i32(i);
    // Of all rows, row i is of sequence s.
    @if(!positions_given) @if(sequences) let s = run_with(params.sequences.q_at, params.sequences.count, i);
    @if(!positions_given) @if(sequences) return bitcast<i32>(aux[params.intervals.offsets_at + s]) + i32(i - aux[params.sequences.q_at + s]);
}

@if(whole_halves) fn rotate_halves(x_start: u32, o_start: u32, item: u32, start: u32, half: u32, rotations: Rotations) {
    if (item >= half) {
        let still = item - half;
        let chunk = select(still + 2u * half, still, still < start);
        store(o_start, chunk, loaded(x_chunk(x_start, chunk)));
        return;
    }
    let first = start + item;
    let x = loaded(x_chunk(x_start, first));
    let y = loaded(x_chunk(x_start, first + half));
    store(o_start, first, rotated(x, scaled(y, -1.0), rotations));
    store(o_start, first + half, rotated(y, x, rotations));
}

@if(whole_interleaved) fn rotate_neighbours(x_start: u32, o_start: u32, item: u32, among: u32, rotations: Rotations) {
    let x = loaded(x_chunk(x_start, item));
    if (among >= params.rotation.dim / CHUNK) {
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
    // Among the channels that are rotated; before the first this wraps beyond the last.
    let r = c - params.rotation.first;
    if (r >= params.rotation.dim) { return x; }
    let half = params.rotation.dim / 2u;
    @if(half_pairs) let is_first = r < half;
    @if(half_pairs) let partner = select(r - half, r + half, is_first);
    @if(half_pairs) let at = rotation + select(r - half, r, is_first);
    @if(!half_pairs) let is_first = r % 2u == 0u;
    @if(!half_pairs) let partner = r ^ 1u;
    @if(!half_pairs) let at = rotation + r / 2u;
    let y = channel(x_start, params.rotation.first + partner);
    let pair = table[at / 2u];
    let t = select(pair.xy, pair.zw, at % 2u == 1u);
    return x * t.x + select(y, -y, is_first) * params.rotation.sine * t.y;
}

@if(!whole_chunks) fn channel(x_start: u32, c: u32) -> f32 {
    let x = x_chunk(x_start, min(c, params.sizes.head_dim - 1u) / 4u);
    let low = select(x.x, x.y, c % 4u == 1u);
    let high = select(x.z, x.w, c % 4u == 3u);
    return select(low, high, c % 4u >= 2u);
}

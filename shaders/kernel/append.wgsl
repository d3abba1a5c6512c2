// Writes new rows into a cache: row i of batch b (or of sequence b, of ragged rows) goes where the query of the same token stands. An invocation owns a chunk of
// channels of a row, or of rows that are quantised on the way a piece: channels that share a scale.

import part::params;
import part::item;
import part::numbers;
import part::chunk;
import mask::interval;
@if(ragged) import part::search;
import slot::x_rows for x;
import slot::o_rows for o;

@bind var<uniform> params: Params;
@bind var<storage, read> x: array<x_word>;
@bind var<storage, read_write> o: array<o_word>;
@bind var<storage, read> aux: array<u32>;

fn x_dim() -> u32 { return params.sizes.head_dim; }
fn o_dim() -> u32 { return params.sizes.head_dim; }
fn x_strides() -> StridesParams { return params.x; }
fn o_strides() -> StridesParams { return params.y; }

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    @if(!quantized) let pieces = (params.sizes.head_dim + CHUNK - 1u) / CHUNK;
    @if(quantized) let pieces = o_pieces();
    let row = n / pieces;
    let new_row = head_item(row, params.sizes.q_len);
    @if(!ragged) let b = new_row.b;
    @if(!ragged) let i = new_row.n;
    // Of all new rows, row n is of sequence b.
    @if(ragged) let b = run_with(params.sequences.q_at, params.sequences.count, new_row.n);
    @if(ragged) let i = new_row.n - aux[params.sequences.q_at + b];
    // What a sequence has no room for, or does not have, is not written.
    let at = diagonal(b, i);
    let end = keys_end(b);
    if (at < 0 || u32(at) >= end) { return; }
    // Nor is what a later row of the same call would overwrite.
    @if(ring) if (u32(at) >= params.lookup.first && end - u32(at) > params.lookup.ring) { return; }
    let source = x_row(x_place(new_row.b, new_row.h), new_row.n);
    let to = o_row(o_place(b, new_row.h), u32(at));
    @if(!quantized) store(to, n % pieces, loaded(x_chunk(source, n % pieces)));
    @if(quantized) o_store_piece(to, n % pieces, source);
}

// What a piece is made of: the row that begins at element `row`.
@if(quantized) alias OSource = u32;
@if(quantized) fn o_source(row: OSource, chunk: u32) -> vec4<f32> { return x_chunk(row, chunk); }

@if(!quantized) fn store(start: u32, chunk: u32, x: Chunk) {
    @if(!vec8) o_store(start, chunk, x[0]);
    @if(vec8) o_store(start, chunk, x);
}

// Exact attention forward (FlashAttention-2's loop order). A workgroup owns a tile of query rows of one head and
// visits the key tiles that any of them sees. As *decode* a tile packs the rows of the heads of one KV head, so that few
// queries read each key once for all of them.

import part::params;
import part::numbers;
import part::work;
import mask::interval;
import part::tile;
import slot::schedule;
import part::chunk;
import slot::q_rows for q;
import slot::k_rows for k;
import slot::v_rows for v;
import slot::q_load for q;
import slot::k_load for k;
import slot::rotations;
import part::load_value for v;
import slot::o_rows for o;
import slot::query_address for lse;
import part::rows_are_queries;
import slot::strategy for head;
import slot::strategy for value;
import part::scores;
import score::chain;
import mask::tile_mask;
import part::online_softmax;

@bind var<uniform> params: Params;
@bind var<storage, read> q: array<q_word>;
@bind var<storage, read> k: array<k_word>;
@bind var<storage, read> v: array<v_word>;
@bind var<storage, read_write> o: array<o_word>;
@bind var<storage, read_write> lse: array<u32>;
@bind var<storage, read> aux: array<u32>;
@if(bias) @bind var<storage, read> bias: array<Biases>;
@if(rotary) @bind var<storage, read> table: array<Staged>;

fn q_dim() -> u32 { return params.sizes.head_dim; }
fn k_dim() -> u32 { return params.sizes.head_dim; }
fn v_dim() -> u32 { return params.sizes.value_dim; }
fn o_dim() -> u32 { return params.sizes.value_dim; }
fn q_strides() -> StridesParams { return params.q; }
fn k_strides() -> StridesParams { return params.k; }
fn v_strides() -> StridesParams { return params.v; }
fn o_strides() -> StridesParams { return params.o; }
fn lse_strides() -> StridesParams { return params.lse; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    @if(!packed) let head = work.h;
    @if(!packed) let begin = params.range.q_begin;
    @if(!packed) let end = queries_end(work.b);
    @if(packed) let head = work.h * params.work.packed;
    @if(packed) let begin = params.range.q_begin * params.work.packed;
    @if(packed) let end = queries_end(work.b) * params.work.packed;
    let tile = row_tile(work.tile, begin, end);
    @if(ragged_queries) if (is_past(tile, end)) { return; }
    let context = row_context(work.b, head, rows_of(tile));
    let stream = stream_of(work.b, head);
    let q_rows = head_load_rows(own_rows(context));
    var o_rows = ValueSum();
    var softmax = softmax_start();

    let bounds = query_bounds(work.b, tile);
    var tiles = kv_tiles(work.b, head, row_query(tile.first), bounds, work.split);
    for (var n = tiles.begin; n < tiles.end; n++) {
        tiles = next(tiles, n);
        let j_tile = tile_key(tiles, n);
        let mask = tile_mask(tiles);
        begin_tile(stream, j_tile, bounds, mask.partial || HIDING_SCORES);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let j = j_tile + g * KEYS;
            let masked = is_masked(mask, bounds, j);
            var step = begin_step(stream, j, g, masked || HIDING_SCORES);

            // S = Q·Kᵀ
            let own = own_columns(j);
            var s = shape_scores(head_scores(q_rows, &step), context, own);
            if (masked) { s = mask_step(s, mask, context, own); }

            // P = exp(S − max)
            let updated = softmax_step(softmax, s);
            softmax = updated.rows;

            // O = O·rescale + P·V
            o_rows = value_accumulate(o_rows, updated.rescale, updated.p, &step);
            if (masked || HIDING_SCORES) { softmax = softmax_nonfinite(softmax, visible_scores(s), nonfinite_columns(step)); }
        }
    }

    // O = O / Σ P
    softmax = softmax_joined(softmax);
    @if(max_score) let largest = softmax_largest(softmax);
    softmax = softmax_sinks(softmax, context);
    var finished = FinishedRows();
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (owns(tile, r)) {
            let h = row_head(context, r);
            let start = o_row(o_part(o_place(work.b, h), work.split, params.partial.o), context.rows[r]);
            finished[r] = FinishedRow(true, start, softmax_factor(softmax[r]), softmax[r].nonfinite);
            if (tells_rows()) {
                let at = lse_row(lse_part(lse_place(work.b, h), work.split, params.partial.lse), context.rows[r]);
                @if(!count_tiles) lse[at] = softmax_lse(softmax[r]);
                @if(max_score) lse[at + params.max_score.at] = largest[r];
                @if(count_tiles) lse[at] = bitcast<u32>(f32(tiles.end - tiles.begin));
            }
        }
    }
    value_store(o_rows, finished);
}

fn value_put(start: u32, chunk: u32, x: vec4<f32>) { o_store(start, chunk, x); }

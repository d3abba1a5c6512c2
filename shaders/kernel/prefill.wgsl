// Exact attention forward (FlashAttention-2's loop order). A workgroup owns a tile of query rows of one head and
// walks the key tiles that any of them sees; an invocation holds ROWS rows of q and o, or its part of their channels.

import part::params;
import part::numbers;
import part::work;
import mask::interval;
import slot::schedule;
import part::chunk;
import slot::strategy;
import slot::q_rows for q;
import slot::k_rows for k;
import slot::v_rows for v;
import slot::q_load for q;
import slot::k_load for k;
import slot::turns;
import slot::o_rows for o;
import part::scores;
import score::chain;
import mask::elements;
import part::online_softmax;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_word>;
@group(0) @binding(2) var<storage, read> k: array<k_word>;
@group(0) @binding(3) var<storage, read> v: array<v_word>;
@group(0) @binding(4) var<storage, read_write> o: array<o_word>;
@group(0) @binding(5) var<storage, read_write> lse: array<u32>;
@group(0) @binding(6) var<storage, read> aux: array<u32>;
@if(bias) @group(0) @binding(7) var<storage, read> bias: array<Biases>;
@if(rotary) @group(0) @binding(TABLE_BINDING) var<storage, read> table: array<Staged>;

fn q_dim() -> u32 { return params.head_dim; }
fn k_dim() -> u32 { return params.head_dim; }
fn v_dim() -> u32 { return params.value_dim; }
fn o_dim() -> u32 { return params.value_dim; }

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @if(subgroup) @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    @if(subgroup) start_strategy(subgroup_lane);
    @if(!subgroup) start_strategy(invocation);

    let part = invocation % LANES;
    let i_tile = (params.q_begin / TILE_ROWS + work.tile) * TILE_ROWS;
    let i_first = max(i_tile, params.q_begin);
    let i_last = min(i_tile + TILE_ROWS, params.q_end) - 1u;
    let i_own = i_tile + invocation / LANES;
    let kv_head = work.h / params.group;
    let k_head = row_start(params.k, work.b, kv_head, 0u);
    let v_head = row_start(params.v, work.b, kv_head, 0u);

    var q_rows = array<Column, CHUNKS>();
    var o_rows = array<Column, VALUE_CHUNKS>();
    var softmax = array<Softmax, ROWS>();
    var seen = array<Interval, ROWS>();
    var queries = array<Query, ROWS>();
    var i_rows = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = clamp(i_own + r * ROW_STRIDE, i_first, i_last);
        i_rows[r] = i;
        queries[r] = Query(row_start(params.q, work.b, work.h, i), query_turn(work.b, i), query_scale(work.b, i));
        seen[r] = visible_keys(work.b, i);
        softmax[r] = softmax_start();
    }
    let place = place_rows(work.b, work.h, i_rows);
    // A loop that no driver unrolls: loads are long text, and software adapters keep what comes out of a loop, but
    // compute again, after every barrier, what comes out of an expression.
    for (var n = 0u; n < chunks_of(params.head_dim, CHUNKS); n++) {
        let column = load_queries(queries, n * LANES + part);
        @unroll for (var d = 0u; d < CHUNKS; d++) { q_rows[d] = select_column(q_rows[d], column, d == n); }
    }

    let low = visible_keys(work.b, i_first);
    let high = visible_keys(work.b, i_last);
    var walk = walk_tiles(work.b, work.h, i_first, low, high, work.split);
    for (var n = walk.begin; n < walk.end; n++) {
        walk = walk_to(walk, n);
        let j_tile = tile_key(walk, n);
        let elements = tile_elements(walk);
        @if(!subgroup) stage_tile(work.b, k_head, v_head, j_tile, low, high, elements.partial || HIDING_SCORES);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let j = j_tile + g * KEYS;
            let masked = elements.partial || !all_visible(low, high, j, j + KEYS - 1u);
            @if(subgroup) let j_own = min(j + own_key(), params.kv_len - 1u);
            @if(subgroup) let k_start = k_head + j_own * params.k.row;
            @if(subgroup) let k_turn = key_turn(work.b, j_own);
            @if(subgroup) let v_start = v_head + j_own * params.v.row;

            // S = Q·Kᵀ
            var s = Scores();
            @if(rolled) var keys = array<Chunk, CHUNKS>();
            @if(rolled) @unroll for (var d = 0u; d < CHUNKS; d++) { keys[d] = k_load(k_start, d * LANES + part, k_turn); }
            @if(rolled) for (var c = 0u; c < KEYS; c++) {
                var x = KeyScores();
                @unroll for (var d = 0u; d < CHUNKS; d++) { x = add_key_scores(x, q_rows[d], keys[d], c); }
                s = put_key_scores(s, x, c);
            }
            @if(subgroup) @if(!rolled) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, q_rows[d], k_load(k_start, d * LANES + part, k_turn)); }
            @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, q_rows[d], g * KEYS * CHUNKS + d); }
            @if(shared_rows) s = sum_over_rows(s);
            s = shape_scores(s, place, j);
            if (masked) { s = mask_scores(s, mask_elements(visible_flags(seen, place, j), elements, place, j)); }

            // P = exp(S − max)
            let step = softmax_step(softmax, s);
            softmax = step.rows;

            // O = O·shrink + P·V
            @if(subgroup) var own_spoils = false;
            @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) {
                @if(subgroup) let own = v_load(v_start, d * LANES + part);
                @if(subgroup) let spoils = (masked || HIDING_SCORES) && is_unbounded(own);
                @if(subgroup) own_spoils = own_spoils || spoils;
                @if(subgroup) o_rows[d] = add_values(o_rows[d], step.shrink, step.p, select_chunk(own, Chunk(), spoils));
                @if(!subgroup) o_rows[d] = add_values(o_rows[d], step.shrink, step.p, g * KEYS * VALUE_CHUNKS + d);
            }
            if (masked || HIDING_SCORES) {
                let visible = seen_scores(s);
                @if(subgroup) let spoilt = share_flags(own_spoils);
                @if(!subgroup) let spoilt = staged_spoils(g * KEYS);
                @unroll for (var r = 0u; r < ROWS; r++) { softmax[r].spoilt |= visible[r] & spoilt; }
            }
        }
    }

    // O = O / Σ P
    if (params.sinks_at != NOWHERE) {
        let sink = bitcast<f32>(aux[params.sinks_at + work.h]);
        @unroll for (var r = 0u; r < ROWS; r++) { softmax[r] = softmax_sink(softmax[r], sink); }
    }
    var o_starts = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = i_own + r * ROW_STRIDE;
        o_starts[r] = NOT_OWNED;
        if (i >= i_first && i <= i_last) {
            o_starts[r] = row_start(params.o, work.b, work.h, i) + work.split * params.o_split;
            if (part == 0u) {
                let at = row_start(params.lse, work.b, work.h, i) + work.split * params.lse_split;
                @if(!count_tiles) lse[at] = softmax_lse(softmax[r]);
                @if(count_tiles) lse[at] = bitcast<u32>(f32(walk.end - walk.begin));
            }
        }
    }
    // As the rows of q were loaded: stores are long text, too.
    for (var n = 0u; n < chunks_of(params.value_dim, VALUE_CHUNKS); n++) {
        var column = Column();
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { column = select_column(column, o_rows[d], d == n); }
        store_outputs(o_starts, n * LANES + part, column, softmax);
    }
}

// The start of a row that this tile has no part in.
const NOT_OWNED = 0xffffffffu;

// Where a query's row starts, its row of the rotary table, and the factor on it.
struct Query { start: u32, turn: u32, scale: f32 }

fn load_queries(queries: array<Query, ROWS>, chunk: u32) -> Column {
    var column = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { column[r] = scaled(q_load(queries[r].start, chunk, queries[r].turn), queries[r].scale); }
    return column;
}

// The rows of the rotary table where query i and key j turn; 0 where nothing turns.
fn query_turn(b: u32, i: u32) -> u32 {
    @if(!rotary) return 0u;
    @if(rotary) @if(q_positions) return table_row(bitcast<i32>(aux[params.q_rotations_at + b * params.q_len + i]));
    @if(rotary) @if(!q_positions) return table_row(diagonal(b, i));
}

fn key_turn(b: u32, j: u32) -> u32 {
    @if(!rotary) return 0u;
    @if(rotary) @if(k_positions) return table_row(bitcast<i32>(aux[params.k_rotations_at + b * params.kv_len + j])) + params.table_key_at;
    @if(rotary) @if(!k_positions) return table_row(i32(j)) + params.table_key_at;
}

fn store_outputs(starts: array<u32, ROWS>, chunk: u32, o: Column, softmax: array<Softmax, ROWS>) {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return; }
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (starts[r] != NOT_OWNED) {
            let x = scaled(o[r], softmax_factor(softmax[r]));
            @unroll for (var n = 0u; n < QUADS; n++) { o_store(starts[r], chunk * QUADS + n, spoil(x[n], softmax[r])); }
        }
    }
}

// What a tile of keys and values is staged from.
@if(!subgroup) fn streamed_rows() -> u32 { return params.kv_len; }
@if(!subgroup) fn stream_key(b: u32, head: u32, j: u32, chunk: u32) -> Chunk { return k_load(head + j * params.k.row, chunk, key_turn(b, j)); }
@if(!subgroup) fn stream_value(head: u32, j: u32, chunk: u32) -> Chunk { return v_load(head + j * params.v.row, chunk); }

fn v_load(row: u32, chunk: u32) -> Chunk {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return Chunk(); }
    return loaded(v_chunk(row, chunk));
}

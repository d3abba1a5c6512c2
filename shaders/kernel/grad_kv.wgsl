// dK = scale·dXᵀ·Q and dV = Pᵀ·dO (FlashAttention's backward by recomputation). A workgroup owns a tile of key rows of
// one KV head and walks, for each query head of its group in turn, the query tiles that see any of them: rows are keys
// here, the columns of a step queries.

import part::params;
import part::numbers;
import part::work;
import mask::interval;
import slot::schedule;
import schedule::transposed;
import part::chunk;
import slot::strategy;
import slot::q_rows for q;
import slot::k_rows for k;
import slot::v_rows for v;
import slot::d_o_rows for d_o;
import position::load_plain for q;
import position::load_plain for k;
import part::scores;
import score::chain;
import mask::elements;
import part::gradient;
import part::gradient_rows;
import slot::dk_rows for dk;
@if(!bias) import slot::dv_rows for dv;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_word>;
@group(0) @binding(2) var<storage, read> k: array<k_word>;
@group(0) @binding(3) var<storage, read> v: array<v_word>;
@group(0) @binding(4) var<storage, read> d_o: array<d_o_word>;
@group(0) @binding(5) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
// With a bias dV lies behind dK in one buffer: there are eight bindings.
@if(!bias) @group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@if(!bias) @group(0) @binding(8) var<storage, read> aux: array<u32>;
@if(bias) @group(0) @binding(7) var<storage, read> aux: array<u32>;
@if(bias) @group(0) @binding(8) var<storage, read> bias: array<Biases>;

fn q_dim() -> u32 { return params.head_dim; }
fn k_dim() -> u32 { return params.head_dim; }
fn v_dim() -> u32 { return params.value_dim; }
fn d_o_dim() -> u32 { return params.value_dim; }

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
    let j_tile = (params.k_begin / TILE_ROWS + work.tile) * TILE_ROWS;
    let j_first = max(j_tile, params.k_begin);
    let j_last = min(j_tile + TILE_ROWS, params.k_end) - 1u;
    let j_own = j_tile + invocation / LANES;

    var k_rows = array<Column, CHUNKS>();
    var v_rows = array<Column, VALUE_CHUNKS>();
    var dk_rows = array<Column, CHUNKS>();
    var dv_rows = array<Column, VALUE_CHUNKS>();
    var spoilt = Flags();
    var seen = array<Interval, ROWS>();
    var j_rows = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let j = clamp(j_own + r * ROW_STRIDE, j_first, j_last);
        j_rows[r] = j;
        seen[r] = visible_queries(work.b, j);
    }
    // Loops that no driver unrolls, as in prefill.
    for (var n = 0u; n < chunks_of(params.head_dim, CHUNKS); n++) {
        let column = load_keys(work.b, work.h, j_rows, n * LANES + part);
        @unroll for (var d = 0u; d < CHUNKS; d++) { k_rows[d] = select_column(k_rows[d], column, d == n); }
    }
    for (var n = 0u; n < chunks_of(params.value_dim, VALUE_CHUNKS); n++) {
        let column = load_values(work.b, work.h, j_rows, n * LANES + part);
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { v_rows[d] = select_column(v_rows[d], column, d == n); }
    }

    let by = seen_by(work.b, j_first, j_last);
    let head = work.h * params.group;
    @if(count_tiles) var visited = 0u;
    for (var h = head + params.group_begin; h < head + params.group_end; h++) {
        let place = place_rows(work.b, h, j_rows);
        var walk = walk_tiles(work.b, h, j_first, by.any, by.any, 0u);
        @if(count_tiles) visited += walk.end - walk.begin;
        let q_head = row_start(params.q, work.b, h, 0u);
        let d_o_head = row_start(params.d_o, work.b, h, 0u);
        for (var n = walk.begin; n < walk.end; n++) {
            walk = walk_to(walk, n);
            let i_tile = tile_key(walk, n);
            let elements = tile_elements(walk);
            @if(!subgroup) stage_tile(work.b, q_head, d_o_head, i_tile, by.all, by.all, elements.partial || HIDING_SCORES);
            @unroll_one for (var g = 0u; g < GROUPS; g++) {
                let i = i_tile + g * KEYS;
                let masked = elements.partial || !all_visible(by.all, by.all, i, i + KEYS - 1u);
                let column_stats = load_stats(work.b, h, i);
                @if(subgroup) let i_own = min(i + own_key(), params.q_len - 1u);
                @if(subgroup) let q_start = q_head + i_own * params.q.row;
                @if(subgroup) let d_o_start = d_o_head + i_own * params.d_o.row;
                @if(subgroup) let scale = query_scale(work.b, i_own);
                @if(subgroup) var queries = array<Shared, CHUNKS>();
                @if(subgroup) var gradients = array<Shared, VALUE_CHUNKS>();
                @if(subgroup) var own_spoils = false;

                // Sᵀ = K·Qᵀ
                var s = Scores();
                @if(subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) {
                    let own = scaled(q_load(q_start, d * LANES + part, 0u), scale);
                    let spoils = is_spoilt(own, masked || HIDING_SCORES);
                    own_spoils = own_spoils || spoils;
                    queries[d] = select_chunk(own, Chunk(), spoils);
                    @if(!rolled) s = add_scores(s, k_rows[d], queries[d]);
                }
                @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, k_rows[d], g * KEYS * CHUNKS + d); }
                // dPᵀ = V·dOᵀ
                var dp = Scores();
                @if(subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) {
                    let own = d_o_load(d_o_start, d * LANES + part);
                    let spoils = is_spoilt(own, masked || HIDING_SCORES);
                    own_spoils = own_spoils || spoils;
                    gradients[d] = select_chunk(own, Chunk(), spoils);
                    @if(!rolled) dp = add_value_scores(dp, v_rows[d], gradients[d]);
                }
                @if(rolled) let products = key_products(k_rows, v_rows, queries, gradients);
                @if(rolled) s = products.s;
                @if(rolled) dp = products.dp;
                @if(!subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_value_scores(dp, v_rows[d], g * KEYS * VALUE_CHUNKS + d); }
                @if(shared_rows) s = sum_over_rows(s);
                @if(shared_rows) dp = sum_over_rows(dp);

                // P = exp(S − lse), dS = P∘(dP − Δ)
                let capped = cap_scores(s);
                let biased = add_biases(capped, place, i);
                s = modify_scores(biased, place, i);
                if (masked) { s = mask_scores(s, mask_elements(visible_flags(seen, place, i), elements, place, i)); }
                var p = probabilities(s, column_stats);
                var dx = uncap_gradients(modify_gradients(score_gradients(p, dp, column_stats), biased, place, i), capped);
                if (masked || HIDING_SCORES) {
                    let visible = seen_scores(s);
                    p = hide(p, visible);
                    dx = hide(dx, visible);
                    @if(subgroup) let spoils = share_flags(own_spoils);
                    @if(!subgroup) let spoils = staged_spoils(g * KEYS);
                    @unroll for (var r = 0u; r < ROWS; r++) { spoilt[r] |= visible[r] & spoils; }
                }

                // dV += Pᵀ·dO, dK += dXᵀ·Q
                @if(subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dv_rows[d] = add_weighted_values(dv_rows[d], p, gradients[d]); }
                @if(subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { dk_rows[d] = add_weighted_keys(dk_rows[d], dx, queries[d]); }
                @if(!subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dv_rows[d] = add_weighted_values(dv_rows[d], p, g * KEYS * VALUE_CHUNKS + d); }
                @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { dk_rows[d] = add_weighted_keys(dk_rows[d], dx, g * KEYS * CHUNKS + d); }
            }
        }
    }

    var dk_starts = array<u32, ROWS>();
    var dv_starts = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let j = j_own + r * ROW_STRIDE;
        let owned = j >= j_first && j <= j_last;
        dk_starts[r] = select(NOT_OWNED, row_start(params.o, work.b, work.h, j), owned);
        dv_starts[r] = select(NOT_OWNED, row_start(params.dv, work.b, work.h, j), owned);
        @if(shared_rows) spoilt[r] = or_over_row(spoilt[r]);
    }
    @if(count_tiles) @unroll for (var d = 0u; d < CHUNKS; d++) { dk_rows[d] = counted(visited); }
    for (var n = 0u; n < chunks_of(params.head_dim, CHUNKS); n++) {
        var column = Column();
        @unroll for (var d = 0u; d < CHUNKS; d++) { column = select_column(column, dk_rows[d], d == n); }
        store_key_gradients(dk_starts, n * LANES + part, column, spoilt);
    }
    for (var n = 0u; n < chunks_of(params.value_dim, VALUE_CHUNKS); n++) {
        var column = Column();
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { column = select_column(column, dv_rows[d], d == n); }
        store_value_gradients(dv_starts, n * LANES + part, column, spoilt);
    }
}

// Gradients of keys that tell the number of visited tiles, whatever their rows' factor.
@if(count_tiles) fn counted(visited: u32) -> Column {
    var x = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { x[r][0] = vec4<f32>(f32(visited)); }
    return x;
}

fn load_keys(b: u32, h: u32, rows: array<u32, ROWS>, chunk: u32) -> Column {
    var column = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { column[r] = k_load(row_start(params.k, b, h, rows[r]), chunk, 0u); }
    return column;
}

fn load_values(b: u32, h: u32, rows: array<u32, ROWS>, chunk: u32) -> Column {
    var column = Column();
    @unroll for (var r = 0u; r < ROWS; r++) { column[r] = v_load(row_start(params.v, b, h, rows[r]), chunk); }
    return column;
}

// (lse, Δ) of the queries from i on.
fn load_stats(b: u32, h: u32, i: u32) -> Stats {
    var columns = Stats();
    let start = row_start(params.stats, b, h, 0u);
    @if(subgroup) let own = stats[start + min(i + own_key(), params.q_len - 1u)];
    @if(subgroup) @unroll for (var c = 0u; c < KEYS; c++) { columns[c] = share_pair(own, c); }
    @if(!subgroup) @unroll for (var c = 0u; c < KEYS; c++) { columns[c] = stats[start + min(i + c, params.q_len - 1u)]; }
    return columns;
}

fn store_key_gradients(starts: array<u32, ROWS>, chunk: u32, dk: Column, spoilt: Flags) {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return; }
    @unroll for (var r = 0u; r < ROWS; r++) {
        let x = dk[r];
        if (starts[r] != NOT_OWNED) {
            @unroll for (var n = 0u; n < QUADS; n++) { dk_sum(starts[r], chunk * QUADS + n, params.head_dim, spoil_gradient(x[n], spoilt[r])); }
        }
    }
}

fn store_value_gradients(starts: array<u32, ROWS>, chunk: u32, dv: Column, spoilt: Flags) {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return; }
    @unroll for (var r = 0u; r < ROWS; r++) {
        let x = dv[r];
        if (starts[r] != NOT_OWNED) {
            @if(!bias) @unroll for (var n = 0u; n < QUADS; n++) { dv_sum(starts[r], chunk * QUADS + n, params.value_dim, spoil_gradient(x[n], spoilt[r])); }
            @if(bias) @unroll for (var n = 0u; n < QUADS; n++) { dk_sum(starts[r], chunk * QUADS + n, params.value_dim, spoil_gradient(x[n], spoilt[r])); }
        }
    }
}

@if(!subgroup) fn streamed_rows() -> u32 { return params.q_len; }
@if(!subgroup) fn stream_key(b: u32, head: u32, i: u32, chunk: u32) -> Chunk { return scaled(q_load(head + i * params.q.row, chunk, 0u), query_scale(b, i)); }
@if(!subgroup) fn stream_value(head: u32, i: u32, chunk: u32) -> Chunk { return d_o_load(head + i * params.d_o.row, chunk); }

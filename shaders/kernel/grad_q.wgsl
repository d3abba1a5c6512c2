// dQ = scale·dX·K (FlashAttention's backward by recomputation, 2205.14135 algorithm 4, in 2307.08691's order). A
// workgroup owns a tile of query rows of one head and walks the key tiles that any of them sees, as the forward
// kernel does; P comes from lse.

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
import slot::d_o_rows for d_o;
import position::load_plain for q;
import position::load_plain for k;
import part::scores;
import score::chain;
import mask::elements;
import part::gradient;
import part::gradient_rows;
import slot::dq_rows for dq;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_word>;
@group(0) @binding(2) var<storage, read> k: array<k_word>;
@group(0) @binding(3) var<storage, read> v: array<v_word>;
@group(0) @binding(4) var<storage, read> d_o: array<d_o_word>;
@group(0) @binding(5) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;
@group(0) @binding(7) var<storage, read> aux: array<u32>;
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
    let i_tile = (params.q_begin / TILE_ROWS + work.tile) * TILE_ROWS;
    let i_first = max(i_tile, params.q_begin);
    let i_last = min(i_tile + TILE_ROWS, params.q_end) - 1u;
    let i_own = i_tile + invocation / LANES;
    let kv_head = work.h / params.group;
    let k_head = row_start(params.k, work.b, kv_head, 0u);
    let v_head = row_start(params.v, work.b, kv_head, 0u);

    var q_rows = array<Column, CHUNKS>();
    var d_o_rows = array<Column, VALUE_CHUNKS>();
    var dq_rows = array<Column, CHUNKS>();
    var row_stats = Stats();
    var spoilt = Flags();
    var seen = array<Interval, ROWS>();
    var i_rows = array<u32, ROWS>();
    var scales = array<f32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = clamp(i_own + r * ROW_STRIDE, i_first, i_last);
        i_rows[r] = i;
        scales[r] = query_scale(work.b, i);
        seen[r] = visible_keys(work.b, i);
        row_stats[r] = stats[row_start(params.stats, work.b, work.h, i)];
    }
    let place = place_rows(work.b, work.h, i_rows);
    // Loops that no driver unrolls, as in prefill.
    for (var n = 0u; n < chunks_of(params.head_dim, CHUNKS); n++) {
        let column = load_queries(work.b, work.h, i_rows, scales, n * LANES + part);
        @unroll for (var d = 0u; d < CHUNKS; d++) { q_rows[d] = select_column(q_rows[d], column, d == n); }
    }
    for (var n = 0u; n < chunks_of(params.value_dim, VALUE_CHUNKS); n++) {
        let column = load_output_gradients(work.b, work.h, i_rows, n * LANES + part);
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { d_o_rows[d] = select_column(d_o_rows[d], column, d == n); }
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
            @if(subgroup) let v_start = v_head + j_own * params.v.row;
            @if(subgroup) var keys = array<Shared, CHUNKS>();
            @if(subgroup) var own_spoils = false;

            // S = Q·Kᵀ
            var s = Scores();
            @if(subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) {
                let own = k_load(k_start, d * LANES + part, 0u);
                let spoils = is_spoilt(own, masked || HIDING_SCORES);
                own_spoils = own_spoils || spoils;
                keys[d] = select_chunk(own, Chunk(), spoils);
                @if(!rolled) s = add_scores(s, q_rows[d], keys[d]);
            }
            @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, q_rows[d], g * KEYS * CHUNKS + d); }
            // dP = dO·Vᵀ
            var dp = Scores();
            @if(rolled) let products = key_products(q_rows, d_o_rows, keys, chunks_of_value(v_start, part));
            @if(rolled) s = products.s;
            @if(rolled) dp = products.dp;
            @if(subgroup) @if(!rolled) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_value_scores(dp, d_o_rows[d], v_load(v_start, d * LANES + part)); }
            @if(!subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_value_scores(dp, d_o_rows[d], g * KEYS * VALUE_CHUNKS + d); }
            @if(shared_rows) s = sum_over_rows(s);
            @if(shared_rows) dp = sum_over_rows(dp);

            // P = exp(S − lse), dS = P∘(dP − Δ)
            let capped = cap_scores(s);
            let biased = add_biases(capped, place, j);
            s = modify_scores(biased, place, j);
            if (masked) { s = mask_scores(s, mask_elements(visible_flags(seen, place, j), elements, place, j)); }
            let p = probabilities(s, row_stats);
            var dx = uncap_gradients(modify_gradients(score_gradients(p, dp, row_stats), biased, place, j), capped);
            if (masked || HIDING_SCORES) {
                let visible = seen_scores(s);
                dx = hide(dx, visible);
                @if(subgroup) let spoils = share_flags(own_spoils);
                @if(!subgroup) let spoils = staged_spoils(g * KEYS);
                @unroll for (var r = 0u; r < ROWS; r++) { spoilt[r] |= visible[r] & spoils; }
            }

            // dQ += dX·K
            @if(subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { dq_rows[d] = add_weighted_keys(dq_rows[d], dx, keys[d]); }
            @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { dq_rows[d] = add_weighted_keys(dq_rows[d], dx, g * KEYS * CHUNKS + d); }
        }
    }

    var dq_starts = array<u32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = i_own + r * ROW_STRIDE;
        dq_starts[r] = select(NOT_OWNED, row_start(params.o, work.b, work.h, i), i >= i_first && i <= i_last);
        @if(shared_rows) spoilt[r] = or_over_row(spoilt[r]);
        @if(count_tiles) scales[r] = f32(walk.end - walk.begin);
    }
    for (var n = 0u; n < chunks_of(params.head_dim, CHUNKS); n++) {
        var column = Column();
        @unroll for (var d = 0u; d < CHUNKS; d++) { column = select_column(column, dq_rows[d], d == n); }
        store_gradients(dq_starts, n * LANES + part, column, scales, spoilt);
    }
}

fn store_gradients(starts: array<u32, ROWS>, chunk: u32, dq: Column, scales: array<f32, ROWS>, spoilt: Flags) {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return; }
    @unroll for (var r = 0u; r < ROWS; r++) {
        var x = scaled(dq[r], scales[r]);
        @if(count_tiles) @unroll for (var n = 0u; n < QUADS; n++) { x[n] = vec4<f32>(scales[r]); }
        if (starts[r] != NOT_OWNED) {
            @unroll for (var n = 0u; n < QUADS; n++) { dq_sum(starts[r], chunk * QUADS + n, params.head_dim, spoil_gradient(x[n], spoilt[r])); }
        }
    }
}

@if(!subgroup) fn streamed_rows() -> u32 { return params.kv_len; }
@if(!subgroup) fn stream_key(b: u32, head: u32, j: u32, chunk: u32) -> Chunk { return k_load(head + j * params.k.row, chunk, 0u); }
@if(!subgroup) fn stream_value(head: u32, j: u32, chunk: u32) -> Chunk { return v_load(head + j * params.v.row, chunk); }

// The gradients of the score's own numbers: ALiBi's slopes (−Σ dS·|p_i − p_j| of a head) or T5's table (Σ dS of the
// pairs of a bucket). A workgroup owns a tile of query rows of one head, walks the key tiles they see and writes one
// partial for each of PARTS numbers; `reduce` adds them up. PARTS buckets are taken from params.part_begin on.

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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_word>;
@group(0) @binding(2) var<storage, read> k: array<k_word>;
@group(0) @binding(3) var<storage, read> v: array<v_word>;
@group(0) @binding(4) var<storage, read> d_o: array<d_o_word>;
@group(0) @binding(5) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> partials: array<f32>;
@group(0) @binding(7) var<storage, read> aux: array<u32>;
@if(bias) @group(0) @binding(8) var<storage, read> bias: array<Biases>;

// A column of sums for each invocation, so that no two write the same word and their order is fixed.
var<workgroup> sums: array<f32, PART_SUMS>;

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

    for (var n = 0u; n < PARTS; n++) { sums[n * INVOCATIONS + invocation] = 0.0; }
    var q_rows = array<Column, CHUNKS>();
    var d_o_rows = array<Column, VALUE_CHUNKS>();
    var row_stats = Stats();
    var seen = array<Interval, ROWS>();
    var i_rows = array<u32, ROWS>();
    var scales = array<f32, ROWS>();
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = clamp(i_own + r * ROW_STRIDE, i_first, i_last);
        i_rows[r] = i;
        scales[r] = query_scale(work.b, i);
        seen[r] = visible_keys(work.b, i);
        row_stats[r] = stats[row_start(params.stats, work.b, work.h, i)];
        // Each row is counted by one invocation, once.
        if (part > 0u || i != i_own + r * ROW_STRIDE) { seen[r] = Interval(0u, 0u, 0u, 0u); }
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
        @if(!subgroup) stage_tile(work.b, k_head, v_head, j_tile, low, high, elements.partial);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let j = j_tile + g * KEYS;
            // S = Q·Kᵀ, dP = dO·Vᵀ
            var s = Scores();
            var dp = Scores();
            @if(subgroup) let j_own = min(j + own_key(), params.kv_len - 1u);
            @if(subgroup) let k_start = k_head + j_own * params.k.row;
            @if(subgroup) let v_start = v_head + j_own * params.v.row;
            @if(rolled) let products = key_products(q_rows, d_o_rows, chunks_of_key(k_start, part), chunks_of_value(v_start, part));
            @if(rolled) s = products.s;
            @if(rolled) dp = products.dp;
            @if(subgroup) @if(!rolled) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, q_rows[d], k_load(k_start, d * LANES + part, 0u)); }
            @if(!subgroup) @unroll for (var d = 0u; d < CHUNKS; d++) { s = add_scores(s, q_rows[d], g * KEYS * CHUNKS + d); }
            @if(subgroup) @if(!rolled) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_value_scores(dp, d_o_rows[d], v_load(v_start, d * LANES + part)); }
            @if(!subgroup) @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) { dp = add_value_scores(dp, d_o_rows[d], g * KEYS * VALUE_CHUNKS + d); }
            @if(shared_rows) s = sum_over_rows(s);
            @if(shared_rows) dp = sum_over_rows(dp);

            // dS = P∘(dP − Δ), P = exp(S − lse)
            let biased = add_biases(cap_scores(s), place, j);
            s = mask_scores(modify_scores(biased, place, j), mask_elements(visible_flags(seen, place, j), elements, place, j));
            let p = probabilities(s, row_stats);
            let ds = hide(modify_gradients(score_gradients(p, dp, row_stats), biased, place, j), seen_scores(s));
            add_to_sums(ds, place, j, invocation);
        }
    }

    workgroupBarrier();
    for (var n = invocation; n < PARTS; n += INVOCATIONS) {
        var sum = 0.0;
        for (var m = 0u; m < INVOCATIONS; m++) { sum += sums[n * INVOCATIONS + m]; }
        partials[((work.b * params.q_heads + work.h) * params.q_tiles + work.tile) * PARTS + n] = sum;
    }
}

@if(grad_slopes) fn add_to_sums(ds: Scores, place: Place, j: u32, invocation: u32) {
    var sum = 0.0;
    @unroll for (var c = 0u; c < KEYS; c++) {
        let p = key_position(place.b, j + c);
        @unroll for (var r = 0u; r < ROWS; r++) { sum -= ds[r][c] * f32(abs(place.p[r] - p)); }
    }
    sums[invocation] += sum;
}

@if(!grad_slopes) fn add_to_sums(ds: Scores, place: Place, j: u32, invocation: u32) {
    @unroll for (var c = 0u; c < KEYS; c++) {
        let p = key_position(place.b, j + c);
        @unroll for (var r = 0u; r < ROWS; r++) { add_to_bucket(t5_bucket(p - place.p[r]), ds[r][c], invocation); }
    }
}

@if(!grad_slopes) fn add_to_bucket(bucket: u32, ds: f32, invocation: u32) {
    let n = bucket - params.part_begin;
    if (n < PARTS) { sums[n * INVOCATIONS + invocation] += ds; }
}

@if(!subgroup) fn streamed_rows() -> u32 { return params.kv_len; }
@if(!subgroup) fn stream_key(b: u32, head: u32, j: u32, chunk: u32) -> Chunk { return k_load(head + j * params.k.row, chunk, 0u); }
@if(!subgroup) fn stream_value(head: u32, j: u32, chunk: u32) -> Chunk { return v_load(head + j * params.v.row, chunk); }

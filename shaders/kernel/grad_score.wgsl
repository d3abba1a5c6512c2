// The gradients of the score's own numbers: ALiBi's slopes (−Σ dS·|p_i − p_j| of a head) or T5's table (Σ dS of the
// pairs of a bucket). A workgroup owns a tile of query rows of one head, visits the key tiles they see and writes one
// partial for each of PARTS numbers; `reduce` adds them up. PARTS buckets are taken from params.partials.begin on.

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
import slot::d_o_rows for d_o;
import slot::q_load for q;
import slot::k_load for k;
import slot::rotations;
import part::load_value for v;
import part::load_value for d_o;
import slot::query_address for stats;
import part::rows_are_queries;
import slot::strategy for head;
import slot::strategy for value;
import part::scores;
import score::chain;
import mask::tile_mask;
import part::gradient;

@bind var<uniform> params: Params;
@bind var<storage, read> q: array<q_word>;
@bind var<storage, read> k: array<k_word>;
@bind var<storage, read> v: array<v_word>;
@bind var<storage, read> d_o: array<d_o_word>;
@bind var<storage, read> stats: array<vec2<f32>>;
@bind var<storage, read_write> partials: array<f32>;
@bind var<storage, read> aux: array<u32>;
@if(bias) @bind var<storage, read> bias: array<Biases>;

// A column of sums for each invocation, so that no two write the same word and their order is fixed.
var<workgroup> sums: array<f32, PART_SUMS>;

fn q_dim() -> u32 { return params.sizes.head_dim; }
fn k_dim() -> u32 { return params.sizes.head_dim; }
fn v_dim() -> u32 { return params.sizes.value_dim; }
fn d_o_dim() -> u32 { return params.sizes.value_dim; }
fn q_strides() -> StridesParams { return params.q; }
fn k_strides() -> StridesParams { return params.k; }
fn v_strides() -> StridesParams { return params.v; }
fn d_o_strides() -> StridesParams { return params.d_o; }
fn stats_strides() -> StridesParams { return params.stats; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    let end = queries_end(work.b);
    let tile = row_tile(work.tile, params.range.q_begin, end);
    @if(ragged_queries) if (is_past(tile, end)) {
        if (params.part.accumulate == 0u) {
            for (var n = invocation.index; n < PARTS; n += INVOCATIONS) { partials[work.number * PARTS + n] = 0.0; }
        }
        return;
    }
    for (var n = 0u; n < PARTS; n++) { sums[n * INVOCATIONS + invocation.index] = 0.0; }
    let context = counted_once(row_context(work.b, work.h, rows_of(tile)), tile);
    let stream = stream_of(work.b, work.h);
    let own = own_rows(context);
    let q_rows = head_load_rows(own);
    let d_o_rows = value_load_rows(own);
    let stats_rows = row_stats(context);

    let bounds = query_bounds(work.b, tile);
    var tiles = kv_tiles(work.b, work.h, tile.first, bounds, work.split);
    for (var n = tiles.begin; n < tiles.end; n++) {
        tiles = next(tiles, n);
        let j_tile = tile_key(tiles, n);
        let mask = tile_mask(tiles);
        begin_tile(stream, j_tile, bounds, mask.partial);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let j = j_tile + g * KEYS;
            var step = begin_step(stream, j, g, false);

            // S = Q·Kᵀ, dP = dO·Vᵀ
            let biased = add_biases(capped_scores(head_scores(q_rows, &step), context, j), context, j);
            let dp = value_scores(d_o_rows, &step);
            let s = mask_step(modify_scores(biased, context, j), mask, context, j);

            // dS = P∘(dP − Δ), P = exp(S − lse)
            let p = probabilities(s, stats_rows);
            let ds = modify_gradients(score_gradients(p, dp, stats_rows), biased, context, j);
            add_to_sums(hide(ds, visible_scores(s)), context, j, invocation.index);
        }
    }

    workgroupBarrier();
    for (var n = invocation.index; n < PARTS; n += INVOCATIONS) {
        var sum = 0.0;
        for (var m = 0u; m < INVOCATIONS; m++) { sum += sums[n * INVOCATIONS + m]; }
        @if(!ragged_queries) let tile = (work.b * params.sizes.q_heads + work.h) * params.partials.tiles + params.partials.first + work.tile;
        @if(ragged_queries) let tile = work.number;
        let at = tile * PARTS + n;
        partials[at] = sum + select(0.0, partials[at], params.part.accumulate != 0u);
    }
}

// Each row is counted by one invocation, once: what others see of it is nothing.
fn counted_once(context: RowContext, tile: Tile) -> RowContext {
    var counted = context;
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (!tells_rows() || !owns(tile, r)) { counted.visible[r] = Interval(0u, 0u, 0u, 0u); }
    }
    return counted;
}

@if(grad_slopes) fn add_to_sums(ds: Scores, context: RowContext, j: u32, invocation: u32) {
    var sum = 0.0;
    @unroll for (var c = 0u; c < KEYS; c++) {
        let p = key_position(context.b, j + c);
        @unroll for (var r = 0u; r < ROWS; r++) { sum -= ds[r][c] * f32(abs(context.p[r] - p)); }
    }
    sums[invocation] += sum;
}

@if(!grad_slopes) fn add_to_sums(ds: Scores, context: RowContext, j: u32, invocation: u32) {
    @unroll for (var c = 0u; c < KEYS; c++) {
        let p = key_position(context.b, j + c);
        @unroll for (var r = 0u; r < ROWS; r++) { add_to_bucket(t5_bucket(p - context.p[r]), ds[r][c], invocation); }
    }
}

@if(!grad_slopes) fn add_to_bucket(bucket: u32, ds: f32, invocation: u32) {
    let n = bucket - params.partials.begin;
    if (n < PARTS) { sums[n * INVOCATIONS + invocation] += ds; }
}

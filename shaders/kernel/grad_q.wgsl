// dQ = scale·dX·K (FlashAttention's backward by recomputation, 2205.14135 algorithm 4, in 2307.08691's order). A
// workgroup owns a tile of query rows of one head and visits the key tiles that any of them sees, as the forward
// kernel does; P comes from lse.

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
import slot::query_address for dq;
import codec::f32_sum for dq;
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
@bind var<storage, read_write> dq: array<f32>;
@bind var<storage, read> aux: array<u32>;
@if(bias) @bind var<storage, read> bias: array<Biases>;

fn q_dim() -> u32 { return params.sizes.head_dim; }
fn k_dim() -> u32 { return params.sizes.head_dim; }
fn v_dim() -> u32 { return params.sizes.value_dim; }
fn d_o_dim() -> u32 { return params.sizes.value_dim; }
fn q_strides() -> StridesParams { return params.q; }
fn k_strides() -> StridesParams { return params.k; }
fn v_strides() -> StridesParams { return params.v; }
fn d_o_strides() -> StridesParams { return params.d_o; }
fn stats_strides() -> StridesParams { return params.stats; }
fn dq_strides() -> StridesParams { return params.dq; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    let end = queries_end(work.b);
    let tile = row_tile(work.tile, params.range.q_begin, end);
    @if(ragged_queries) if (is_past(tile, end)) { return; }
    let context = row_context(work.b, work.h, rows_of(tile));
    let stream = stream_of(work.b, work.h);
    let own = own_rows(context);
    let q_rows = head_load_rows(own);
    let d_o_rows = value_load_rows(own);
    let stats_rows = row_stats(context);
    var dq_rows = HeadSum();
    var nonfinite = Flags();

    let bounds = query_bounds(work.b, tile);
    var tiles = kv_tiles(work.b, work.h, tile.first, bounds, work.split);
    for (var n = tiles.begin; n < tiles.end; n++) {
        tiles = next(tiles, n);
        let j_tile = tile_key(tiles, n);
        let mask = tile_mask(tiles);
        begin_tile(stream, j_tile, bounds, mask.partial || HIDING_SCORES);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let j = j_tile + g * KEYS;
            let masked = is_masked(mask, bounds, j);
            var step = begin_step(stream, j, g, masked || HIDING_SCORES);

            // S = Q·Kᵀ, dP = dO·Vᵀ
            let capped = capped_scores(head_scores(q_rows, &step), context, j);
            let dp = value_scores(d_o_rows, &step);
            let biased = add_biases(capped, context, j);
            var s = modify_scores(biased, context, j);
            if (masked) { s = mask_step(s, mask, context, j); }

            // P = exp(S − lse), dS = P∘(dP − Δ)
            let p = probabilities(s, stats_rows);
            let ds = modify_gradients(score_gradients(p, dp, stats_rows), biased, context, j);
            var dx = uncap_gradients(ds, capped);
            if (masked || HIDING_SCORES) {
                let visible = visible_scores(s);
                dx = hide(dx, visible);
                nonfinite = nonfinite_rows(nonfinite, visible, nonfinite_columns(step));
            }

            // dQ += dX·K
            dq_rows = head_accumulate(dq_rows, unscaled(), dx, &step);
        }
    }

    @if(count_tiles) dq_rows = head_fill(f32(tiles.end - tiles.begin));
    nonfinite = marks_of_rows(nonfinite);
    let dq_at = dq_place(work.b, work.h);
    var finished = FinishedRows();
    @unroll for (var r = 0u; r < ROWS; r++) {
        @if(!count_tiles) let factor = own[r].scale;
        @if(count_tiles) let factor = 1.0;
        finished[r] = FinishedRow(owns(tile, r), dq_row(dq_at, context.rows[r]), factor, nonfinite[r]);
    }
    head_store(dq_rows, finished);
}

fn head_put(start: u32, chunk: u32, x: vec4<f32>) { dq_sum(start, chunk, params.sizes.head_dim, x); }

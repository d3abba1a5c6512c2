// dK = scale·dXᵀ·Q and dV = Pᵀ·dO (FlashAttention's backward by recomputation). A workgroup owns a tile of key rows of
// one KV head and visits, for each query head of its group in turn, the query tiles that see any of them: rows are keys
// here, the columns of a step queries.

import part::params;
import part::numbers;
import part::work;
import mask::interval;
import part::tile;
import slot::schedule;
import schedule::transposed;
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
import slot::key_address for dk;
import codec::f32_sum for dk;
import slot::key_address for dv;
@if(!bias) import codec::f32_sum for dv;
import part::rows_are_keys;
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
@bind var<storage, read_write> dk: array<f32>;
// With a bias dV lies behind dK in one buffer: there are eight bindings.
@if(!bias) @bind var<storage, read_write> dv: array<f32>;
@if(!bias) @bind var<storage, read> aux: array<u32>;
@if(bias) @bind var<storage, read> aux: array<u32>;
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
fn dk_strides() -> StridesParams { return params.dk; }
fn dv_strides() -> StridesParams { return params.dv; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    let end = key_rows_end(work.b);
    let tile = row_tile(work.tile, params.range.k_begin, end);
    @if(ragged_keys) if (is_past(tile, end)) { return; }
    let rows = rows_of(tile);
    let own = own_rows(work.b, work.h, rows);
    let k_rows = head_load_rows(own);
    let v_rows = value_load_rows(own);
    var dk_rows = HeadSum();
    var dv_rows = ValueSum();
    var nonfinite = Flags();

    let by = visible_by(work.b, tile.first, tile.last);
    let head = work.h * params.sizes.group;
    let keys = row_context(work.b, head, rows);
    @if(count_tiles) var visited = 0u;
    for (var h = head + params.part.group_begin; h < head + params.part.group_end; h++) {
        let context = with_head(keys, h);
        let stream = stream_of(work.b, h);
        var tiles = kv_tiles(work.b, h, tile.first, by.any, 0u);
        @if(count_tiles) visited += tiles.end - tiles.begin;
        for (var n = tiles.begin; n < tiles.end; n++) {
            tiles = next(tiles, n);
            let i_tile = tile_key(tiles, n);
            let mask = tile_mask(tiles);
            begin_tile(stream, i_tile, by.all, mask.partial || HIDING_SCORES);
            @unroll_one for (var g = 0u; g < GROUPS; g++) {
                let i = i_tile + g * KEYS;
                let masked = is_masked(mask, by.all, i);
                let stats_columns = column_stats(stream, i);
                var step = begin_step(stream, i, g, masked || HIDING_SCORES);

                // Sᵀ = K·Qᵀ, dPᵀ = V·dOᵀ
                let capped = capped_scores(head_scores(k_rows, &step), context, i);
                let dp = value_scores(v_rows, &step);
                let biased = add_biases(capped, context, i);
                var s = modify_scores(biased, context, i);
                if (masked) { s = mask_step(s, mask, context, i); }

                // P = exp(S − lse), dS = P∘(dP − Δ)
                var p = probabilities(s, stats_columns);
                let ds = modify_gradients(score_gradients(p, dp, stats_columns), biased, context, i);
                var dx = uncap_gradients(ds, capped);
                if (masked || HIDING_SCORES) {
                    let visible = visible_scores(s);
                    p = hide(p, visible);
                    dx = hide(dx, visible);
                    nonfinite = nonfinite_rows(nonfinite, visible, nonfinite_columns(step));
                }

                // dV += Pᵀ·dO, dK += dXᵀ·Q
                dv_rows = value_accumulate(dv_rows, unscaled(), p, &step);
                dk_rows = head_accumulate(dk_rows, unscaled(), dx, &step);
            }
        }
    }

    @if(count_tiles) dk_rows = head_fill(f32(visited));
    nonfinite = marks_of_rows(nonfinite);
    let dk_at = dk_place(work.b, work.h);
    let dv_at = dv_place(work.b, work.h);
    var dk_finished = FinishedRows();
    var dv_finished = FinishedRows();
    @unroll for (var r = 0u; r < ROWS; r++) {
        dk_finished[r] = FinishedRow(owns(tile, r), dk_row(dk_at, rows[r]), 1.0, nonfinite[r]);
        dv_finished[r] = FinishedRow(owns(tile, r), dv_row(dv_at, rows[r]), 1.0, nonfinite[r]);
    }
    head_store(dk_rows, dk_finished);
    value_store(dv_rows, dv_finished);
}

fn head_put(start: u32, chunk: u32, x: vec4<f32>) { dk_sum(start, chunk, params.sizes.head_dim, x); }
@if(!bias) fn value_put(start: u32, chunk: u32, x: vec4<f32>) { dv_sum(start, chunk, params.sizes.value_dim, x); }
@if(bias) fn value_put(start: u32, chunk: u32, x: vec4<f32>) { dk_sum(start, chunk, params.sizes.value_dim, x); }

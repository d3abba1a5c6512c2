// The gradient of a dense bias: dS, summed over the batches and heads that share it, in their order. A workgroup owns a
// tile of query rows and one tile of keys (its split) of a batch and head of the bias.

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
import slot::address for d_bias;
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
@bind var<storage, read_write> d_bias: array<f32>;
@bind var<storage, read> aux: array<u32>;
@bind var<storage, read> bias: array<Biases>;

fn q_dim() -> u32 { return params.sizes.head_dim; }
fn k_dim() -> u32 { return params.sizes.head_dim; }
fn v_dim() -> u32 { return params.sizes.value_dim; }
fn d_o_dim() -> u32 { return params.sizes.value_dim; }
fn q_strides() -> StridesParams { return params.q; }
fn k_strides() -> StridesParams { return params.k; }
fn v_strides() -> StridesParams { return params.v; }
fn d_o_strides() -> StridesParams { return params.d_o; }
fn stats_strides() -> StridesParams { return params.stats; }
fn d_bias_strides() -> StridesParams { return params.d_bias; }

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    let tile = row_tile(work.tile, params.range.q_begin, params.range.q_end);
    let rows = rows_of(tile);
    let j = (params.range.k_begin / TILE + work.split) * TILE;

    var sum = Scores();
    // The batches and heads that one of the bias's stands for.
    for (var b = work.b; b < work.b + params.sharing.batches; b++) {
        for (var h = work.h; h < work.h + params.sharing.heads; h++) {
            let found = tile_mask_at(b, h, tile.first, j);
            let mask = TileMask(found.partial, found.bits);
            let stream = stream_of(b, h);
            begin_tile(stream, j, query_bounds(b, tile), mask.partial);
            let context = row_context(b, h, rows);
            let own = own_rows(context);
            let q_rows = head_load_rows(own);
            let d_o_rows = value_load_rows(own);
            let stats_rows = row_stats(context);
            var step = begin_step(stream, j, 0u, false);

            // S = Q·Kᵀ, dP = dO·Vᵀ
            let capped = capped_scores(head_scores(q_rows, &step), context, j);
            let biased = add_biases(capped, context, j);
            let dp = value_scores(d_o_rows, &step);
            let s = mask_step(modify_scores(biased, context, j), mask, context, j);

            // dS = P∘(dP − Δ), P = exp(S − lse)
            let p = probabilities(s, stats_rows);
            let ds = bias_gradients(modify_gradients(score_gradients(p, dp, stats_rows), biased, context, j), capped);
            sum = sum_of_scores(sum, hide(ds, visible_scores(s)), found.listed);
        }
    }

    let at = d_bias_place(work.b, work.h);
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (tells_rows() && owns(tile, r)) {
            let start = d_bias_row(at, rows[r]);
            @unroll for (var c = 0u; c < KEYS; c++) {
                if (j + c >= params.range.k_begin && j + c < params.range.k_end) { d_bias[start + j + c] = sum[r][c]; }
            }
        }
    }
}

// The sum, of `others` only where they count.
fn sum_of_scores(scores: Scores, others: Scores, counts: bool) -> Scores {
    var sum = scores;
    @unroll for (var r = 0u; r < ROWS; r++) {
        @unroll for (var c = 0u; c < KEYS; c++) { sum[r][c] += select(0.0, others[r][c], counts); }
    }
    return sum;
}

// The gradient of a dense bias that queries share: dS of each key, summed over the queries that see it. A workgroup owns
// a tile of key rows of one query head and visits the query tiles that see any of them, as grad_kv does: rows are keys
// here, the columns of a step queries. `reduce` adds up the batches and heads that share the bias, too.

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
@bind var<storage, read_write> partials: array<f32>;
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

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, invocation: Invocation) {
    let work = work_item(group, groups);
    if (!work.live) { return; }
    start_strategy(invocation);

    let tile = row_tile(work.tile, params.range.k_begin, params.range.k_end);
    let context = row_context(work.b, work.h, rows_of(tile));
    let stream = stream_of(work.b, work.h);
    let own = own_rows(work.b, work.h / params.sizes.group, context.rows);
    let k_rows = head_load_rows(own);
    let v_rows = value_load_rows(own);
    var sums = array<f32, ROWS>();

    let by = visible_by(work.b, tile.first, tile.last);
    var tiles = kv_tiles(work.b, work.h, tile.first, by.any, 0u);
    for (var n = tiles.begin; n < tiles.end; n++) {
        tiles = next(tiles, n);
        let i_tile = tile_key(tiles, n);
        let mask = tile_mask(tiles);
        begin_tile(stream, i_tile, by.all, mask.partial);
        @unroll_one for (var g = 0u; g < GROUPS; g++) {
            let i = i_tile + g * KEYS;
            let stats_columns = column_stats(stream, i);
            var step = begin_step(stream, i, g, false);

            // Sᵀ = K·Qᵀ, dPᵀ = V·dOᵀ
            let capped = capped_scores(head_scores(k_rows, &step), context, i);
            let biased = add_biases(capped, context, i);
            let dp = value_scores(v_rows, &step);
            let s = mask_step(modify_scores(biased, context, i), mask, context, i);

            // dS = P∘(dP − Δ), P = exp(S − lse)
            let p = probabilities(s, stats_columns);
            let ds = bias_gradients(modify_gradients(score_gradients(p, dp, stats_columns), biased, context, i), capped);
            sums = add_columns(sums, hide(ds, visible_scores(s)));
        }
    }

    let head = (work.b * params.sizes.q_heads + work.h) * params.partials.stride;
    @unroll for (var r = 0u; r < ROWS; r++) {
        if (tells_rows() && owns(tile, r)) {
            let at = head + context.rows[r] - params.range.k_begin;
            partials[at] = sums[r] + select(0.0, partials[at], params.part.accumulate != 0u);
        }
    }
}

// A step's columns are summed by themselves first: a long sum would round each of them.
fn add_columns(before: array<f32, ROWS>, columns: Scores) -> array<f32, ROWS> {
    var sums = before;
    @unroll for (var r = 0u; r < ROWS; r++) {
        var sum = 0.0;
        @unroll for (var c = 0u; c < KEYS; c++) { sum += columns[r][c]; }
        sums[r] += sum;
    }
    return sums;
}

// Exact attention forward (FlashAttention-2's loop order). A workgroup owns a tile of query rows of one head and
// walks the key tiles that any of them sees; an invocation holds ROWS rows of q and o, or its part of their channels.
// Scores are in units of log 2.

import part::params;
import part::numbers;
import part::work;
import mask::interval;
import schedule::interval;
import slot::strategy;
import slot::q_rows for q;
import slot::k_rows for k;
import slot::v_rows for v;
import slot::o_rows for o;
import part::online_softmax;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<q_word>;
@group(0) @binding(2) var<storage, read> k: array<k_word>;
@group(0) @binding(3) var<storage, read> v: array<v_word>;
@group(0) @binding(4) var<storage, read_write> o: array<u32>;
@group(0) @binding(5) var<storage, read_write> lse: array<u32>;
@group(0) @binding(6) var<storage, read> aux: array<u32>;

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

    var q_row: array<array<vec4<f32>, CHUNKS>, ROWS>;
    var o_row: array<array<vec4<f32>, VALUE_CHUNKS>, ROWS>;
    var softmax: array<Softmax, ROWS>;
    var seen: array<Interval, ROWS>;
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = clamp(i_own + r * ROW_STRIDE, i_first, i_last);
        let q_start = row_start(params.q, work.b, work.h, i);
        seen[r] = visible_keys(work.b, i);
        softmax[r] = softmax_start();
        @unroll for (var n = 0u; n < CHUNKS; n++) {
            q_row[r][n] = params.scale * q_load(q_start, n * LANES + part);
        }
        @unroll for (var n = 0u; n < VALUE_CHUNKS; n++) {
            o_row[r][n] = vec4<f32>();
        }
    }

    let low = visible_keys(work.b, i_first);
    let high = visible_keys(work.b, i_last);
    let walk = walk_tiles(low, high, work.split);
    for (var n = walk.begin * GROUPS; n < walk.end * GROUPS; n++) {
        let j_tile = tile_key(walk, n / GROUPS);
        let j = j_tile + n % GROUPS * KEYS;
        let masked = !all_visible(low, high, j, j + KEYS - 1u);
        @if(!subgroup) if (n % GROUPS == 0u) { stage_tile(k_head, v_head, j_tile, !all_visible(low, high, j_tile, j_tile + TILE - 1u)); }
        @if(subgroup) let j_own = min(j + own_key(), params.kv_len - 1u);
        @if(subgroup) let k_start = k_head + j_own * params.k.row;
        @if(subgroup) let v_start = v_head + j_own * params.v.row;

        // S = Q·Kᵀ
        var s: array<array<f32, KEYS>, ROWS>;
        @unroll for (var d = 0u; d < CHUNKS; d++) {
            @if(subgroup) let own = k_load(k_start, d * LANES + part);
            @unroll for (var c = 0u; c < KEYS; c++) {
                @if(subgroup) let x = subgroupShuffle(own, c);
                @if(!subgroup) let x = staged_key(n % GROUPS * KEYS + c, d);
                @unroll for (var r = 0u; r < ROWS; r++) { s[r][c] += dot(q_row[r][d], x); }
            }
        }
        @if(shared_rows) @unroll for (var r = 0u; r < ROWS; r++) {
            @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = sum_over_row(s[r][c]); }
        }
        @if(softcap) @unroll for (var r = 0u; r < ROWS; r++) {
            @unroll for (var c = 0u; c < KEYS; c++) { s[r][c] = params.softcap * precise_tanh(s[r][c] * params.softcap_inverse); }
        }

        // Bit c of visible[r]: row r sees key j + c.
        var visible: array<u32, ROWS>;
        if (masked) {
            @unroll for (var r = 0u; r < ROWS; r++) {
                @unroll for (var c = 0u; c < KEYS; c++) {
                    let is_seen = is_visible(seen[r], j + c);
                    s[r][c] = select(MASKED, s[r][c], is_seen);
                    visible[r] |= select(0u, 1u, is_seen) << c;
                }
            }
        }

        // P = exp(S − max), and what the earlier part of O shrinks by.
        var shrink: array<f32, ROWS>;
        @unroll for (var r = 0u; r < ROWS; r++) {
            var peak = softmax[r].peak;
            @unroll for (var c = 0u; c < KEYS; c++) { peak = max(peak, s[r][c]); }
            shrink[r] = exp2(softmax[r].peak - peak);
            var sum = 0.0;
            @unroll for (var c = 0u; c < KEYS; c++) {
                s[r][c] = exp2(s[r][c] - peak);
                sum += s[r][c];
            }
            softmax[r].peak = peak;
            softmax[r].sum = softmax[r].sum * shrink[r] + sum;
        }

        // O = O·shrink + P·V
        @if(subgroup) var own_spoils = false;
        @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) {
            @if(subgroup) var own = v_load(v_start, d * LANES + part);
            @if(subgroup) let spoils = masked && not_finite(own);
            @if(subgroup) own_spoils = own_spoils || spoils;
            @if(subgroup) own = select(own, vec4<f32>(), spoils);
            @unroll for (var r = 0u; r < ROWS; r++) { o_row[r][d] *= shrink[r]; }
            @unroll for (var c = 0u; c < KEYS; c++) {
                @if(subgroup) let x = subgroupShuffle(own, c);
                @if(!subgroup) let x = staged_value(n % GROUPS * KEYS + c, d);
                @unroll for (var r = 0u; r < ROWS; r++) { o_row[r][d] += s[r][c] * x; }
            }
        }
        if (masked) {
            @if(subgroup) let spoilt = share_flags(own_spoils);
            @if(!subgroup) let spoilt = staged_spoils(n % GROUPS * KEYS);
            @unroll for (var r = 0u; r < ROWS; r++) { softmax[r].spoilt |= visible[r] & spoilt; }
        }
    }

    // O = O / Σ P
    @unroll for (var r = 0u; r < ROWS; r++) {
        let i = i_own + r * ROW_STRIDE;
        if (i >= i_first && i <= i_last) {
            let o_start = row_start(params.o, work.b, work.h, i) + work.split * params.o_split;
            let factor = softmax_factor(softmax[r]);
            @unroll for (var d = 0u; d < VALUE_CHUNKS; d++) {
                let chunk = d * LANES + part;
                @if(ragged_value_chunks) if (chunk < ALL_VALUE_CHUNKS) { o_store(o_start, chunk, spoil(o_row[r][d] * factor, softmax[r])); }
                @if(!ragged_value_chunks) o_store(o_start, chunk, spoil(o_row[r][d] * factor, softmax[r]));
            }
            if (part == 0u) {
                let at = row_start(params.lse, work.b, work.h, i) + work.split * params.lse_split;
                @if(!count_tiles) lse[at] = softmax_lse(softmax[r]);
                @if(count_tiles) lse[at] = bitcast<u32>(f32(walk.end - walk.begin));
            }
        }
    }
}

fn q_load(row: u32, chunk: u32) -> vec4<f32> {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return vec4<f32>(); }
    return q_chunk(row, chunk);
}

fn k_load(row: u32, chunk: u32) -> vec4<f32> {
    @if(ragged_chunks) if (chunk >= ALL_CHUNKS) { return vec4<f32>(); }
    return k_chunk(row, chunk);
}

fn v_load(row: u32, chunk: u32) -> vec4<f32> {
    @if(ragged_value_chunks) if (chunk >= ALL_VALUE_CHUNKS) { return vec4<f32>(); }
    return v_chunk(row, chunk);
}

// How much each block of queries wants each block of keys, as whole numbers in the order of the scores. An invocation
// owns 4 x 4 blocks of a head.

import part::params;
import part::item;
import part::numbers;
import part::ranks;
import mask::interval;

@bind var<uniform> params: Params;
@bind var<storage, read> q: array<vec4<f32>>;
@bind var<storage, read> k: array<vec4<f32>>;
@bind var<storage, read_write> ranks: array<u32>;
@bind var<storage, read> aux: array<u32>;
// What a scan found of the same blocks.
@if(scanned) @bind var<storage, read> states: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn main(own: ItemInvocation) {
    let n = item_of(own);
    if (n >= params.work.end) { return; }
    let across = (params.lists.columns + 3u) / 4u;
    let down = (params.work.tiles + 3u) / 4u;
    let column = n % across * 4u;
    let row = n / across % down * 4u;
    let head = n / across / down;
    let b = head / params.sizes.q_heads;
    let kv_head = b * (params.sizes.q_heads / params.sizes.group) + head % params.sizes.q_heads / params.sizes.group;
    // Of queries and of keys; read from `aux`: a loop bound straight from a uniform is dear on lavapipe.
    let chunks = aux[params.bound.at];

    var q_at = array<u32, 4>();
    var k_at = array<u32, 4>();
    @unroll for (var r = 0u; r < FOUR; r++) {
        q_at[r] = (head * params.choice.blocks + min(row + r, params.work.tiles - 1u) + params.choice.first - params.choice.begin) * chunks;
        k_at[r] = (kv_head * params.lists.columns + min(column + r, params.lists.columns - 1u)) * chunks;
    }
    var s = array<vec4<f32>, 4>();
    for (var d = 0u; d < chunks; d++) {
        var means = array<vec4<f32>, 4>();
        @unroll for (var r = 0u; r < FOUR; r++) { means[r] = q[q_at[r] + d]; }
        @if(!extremes) @unroll for (var c = 0u; c < FOUR; c++) {
            let k_mean = k[k_at[c] + d];
            @unroll for (var r = 0u; r < FOUR; r++) { s[r][c] += dot(means[r], k_mean); }
        }
        @if(extremes) @unroll for (var c = 0u; c < FOUR; c++) {
            let k_low = k[2u * (k_at[c] + d)];
            let k_high = k[2u * (k_at[c] + d) + 1u];
            @unroll for (var r = 0u; r < FOUR; r++) { s[r][c] += dot(max(means[r] * k_low, means[r] * k_high), vec4<f32>(1.0)); }
        }
    }
    @unroll for (var r = 0u; r < FOUR; r++) {
        let i = params.choice.first + row + r;
        let rows = row_of_blocks(b, i);
        let start = (head * params.work.tiles + row + r) * params.lists.columns;
        if (row + r < params.work.tiles) {
            @unroll for (var c = 0u; c < FOUR; c++) {
                let j = column + c;
                if (j < params.lists.columns) {
                    @if(scanned) let visible = states[start + j] != NONE_VISIBLE;
                    @if(!scanned) let visible = has_visible_pair(b, rows, j);
                    let rank = select(rank_of(s[r][c]), FORCED, is_forced(rows, j));
                    ranks[start + j] = select(NONE_VISIBLE, rank, visible);
                }
            }
        }
    }
}

// The queries of a block, what the first and the last of them see, and the blocks of keys that are kept in any case.
struct BlockRow { first: u32, last: u32, low: Interval, high: Interval, forced_begin: u32, forced_end: u32 }

fn row_of_blocks(b: u32, block: u32) -> BlockRow {
    let first = min(block * params.lists.side, params.sizes.q_len - 1u);
    let last = min(first + params.lists.side, params.sizes.q_len) - 1u;
    // Blocks with a diagonal key, if any, and the local ones before.
    let begin = max(diagonal(b, first), 0);
    let end = min(diagonal(b, last), i32(params.sizes.kv_len) - 1);
    let near = u32(begin) / params.lists.side;
    let forced_begin = near - min(near, params.choice.local);
    let forced_end = select(0u, u32(max(end, 0)) / params.lists.side + 1u, begin <= end);
    return BlockRow(first, last, visible_keys(b, first), visible_keys(b, last), forced_begin, forced_end);
}

fn is_forced(rows: BlockRow, j: u32) -> bool {
    return j == 0u || (j >= rows.forced_begin && j < rows.forced_end);
}

// Whether one of the queries sees a key of block j. The intervals of consecutive queries join, but for documents.
fn has_visible_pair(b: u32, rows: BlockRow, j: u32) -> bool {
    let j_first = j * params.lists.side;
    let j_end = min(j_first + params.lists.side, params.sizes.kv_len);
    if (params.documents.keys_at == NOWHERE) {
        return meet(rows.low.begin, rows.high.end, j_first, j_end) || meet(rows.high.first_begin, rows.high.first_end, j_first, j_end);
    }
    var found = false;
    for (var i = rows.first; i <= rows.last; i++) {
        let visible = visible_keys(b, i);
        found = found || meet(visible.begin, visible.end, j_first, j_end) || meet(visible.first_begin, visible.first_end, j_first, j_end);
    }
    return found;
}

// Whether two ranges, each of which may end before it begins, have something in common.
fn meet(a_begin: u32, a_end: u32, b_begin: u32, b_end: u32) -> bool {
    return max(a_begin, b_begin) < min(a_end, b_end);
}

// Scores in rising order; −0 is 0, and a NaN is above all.
fn rank_of(score: f32) -> u32 {
    let bits = bitcast<u32>(score);
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) { return FORCED - 1u; }
    let rank = select(0x80000000u + magnitude, 0x80000000u - magnitude, bits >> 31u == 1u);
    return clamp(rank, NONE_VISIBLE + 1u, FORCED - 1u);
}

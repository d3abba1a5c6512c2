// Causal, prefix, window, first, lengths and documents along the sequence: for each query at most two intervals of
// keys, as data.

import part::tokens;

// The keys of the slice that batch b has, one past the last.
fn keys_end(b: u32) -> u32 {
    return min(min(aux[params.intervals.lens_at + b], params.sizes.kv_len), params.range.k_end);
}

// The queries of the slice that batch b has, one past the last.
fn queries_end(b: u32) -> u32 {
    @if(!ragged_queries) return params.range.q_end;
    @if(ragged_queries) return min(aux[params.sequences.q_at + b + 1u] - aux[params.sequences.q_at + b], params.range.q_end);
}

// The keys of the slice that batch b has rows for, one past the last.
fn key_rows_end(b: u32) -> u32 {
    @if(!ragged_keys) return params.range.k_end;
    @if(ragged_keys) return keys_end(b);
}

// The key index at which query i of batch b stands.
fn diagonal(b: u32, i: u32) -> i32 {
    let offset = clamp(bitcast<i32>(aux[params.intervals.offsets_at + b]), -MAX_OFFSET, MAX_OFFSET);
    return offset + i32(i);
}

// The keys of batch b that are exempt from causal.
fn prefix_end(b: u32) -> u32 {
    return aux[params.intervals.prefix_at + b];
}

// What one query sees: keys j with begin ≤ j < end, and those with first_begin ≤ j < first_end.
struct Interval { begin: u32, end: u32, first_end: u32, first_begin: u32 }

fn visible_keys(b: u32, i: u32) -> Interval {
    let d = diagonal(b, i);
    var end = keys_end(b);
    if (params.intervals.causal != 0u) {
        end = min(end, max(u32(max(d + 1, 0)), prefix_end(b)));
    }
    var first_begin = params.range.k_begin;
    if (params.documents.keys_at != NOWHERE) {
        let segment = params.documents.keys_at + 2u * query_token(b, i);
        first_begin = max(first_begin, aux[segment]);
        end = min(end, aux[segment + 1u]);
    }
    let first_end = min(end, params.intervals.first);
    let begin = max(u32(max(d - i32(params.intervals.window_left), 0)), first_begin);
    end = min(end, u32(max(d + i32(params.intervals.window_right) + 1, 0)));
    return Interval(begin, end, first_end, first_begin);
}

// No `&&` and `||`, which branch: a text of many ran SwiftShader's compiler out of memory.
fn is_visible(visible: Interval, j: u32) -> bool {
    return ((j >= visible.begin) & (j < visible.end)) | ((j >= visible.first_begin) & (j < visible.first_end));
}

// What one key is seen by: queries i with begin ≤ i < end.
@if(transposed) fn visible_queries(b: u32, j: u32) -> Interval {
    // The query that stands at the key.
    let d = i32(j) - diagonal(b, 0u);
    var begin = params.range.q_begin;
    var end = select(begin, queries_end(b), j >= params.range.k_begin && j < keys_end(b));
    if (params.intervals.causal != 0u && j >= prefix_end(b)) {
        begin = max(begin, u32(max(d, 0)));
    }
    if (j >= params.intervals.first) {
        begin = max(begin, u32(max(d - i32(params.intervals.window_right), 0)));
        end = min(end, u32(max(d + i32(params.intervals.window_left) + 1, 0)));
    }
    if (params.documents.queries_at != NOWHERE) {
        let segment = params.documents.queries_at + 2u * key_token(b, j);
        begin = max(begin, aux[segment]);
        end = min(end, aux[segment + 1u]);
    }
    return Interval(begin, end, 0u, 0u);
}

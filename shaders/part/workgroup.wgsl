// Keys live in workgroup memory: all invocations stage a tile of keys and values, then each reads every one of them.

@if(wide) alias Staged = vec2<u64>;
@if(!wide) alias Staged = vec4<f32>;

var<workgroup> key_tile: array<Staged, TILE_CHUNKS>;
var<workgroup> value_tile: array<Staged, TILE_VALUE_CHUNKS>;
// Bit n: value n is no finite number in a step that has masked keys; it is staged as 0.
var<workgroup> spoils: atomic<u32>;

var<private> invocation_index: u32;

fn start_strategy(invocation: u32) {
    invocation_index = invocation;
}

// Stages keys and values j … j + TILE − 1, in uniform control flow, for rows from the one that sees `low` to the one
// that sees `high`. The kernel says with stream_key and stream_value what a key and a value are.
fn stage_tile(b: u32, k_head: u32, v_head: u32, j: u32, low: Interval, high: Interval) {
    let masked = !all_visible(low, high, j, j + TILE - 1u);
    workgroupBarrier();
    if (invocation_index == 0u) { atomicStore(&spoils, 0u); }
    workgroupBarrier();
    for (var at = invocation_index; at < TILE_CHUNKS; at += INVOCATIONS) {
        let row = min(j + at / CHUNKS, streamed_rows() - 1u);
        let x = stream_key(b, k_head, row, at % CHUNKS);
        @if(!gradient) key_tile[at] = staged(x);
        // A gradient multiplies keys as well as values by weights that are 0 where a pair is masked.
        @if(gradient) key_tile[at] = staged(stage_finite(x, masked, j, at / CHUNKS, low, high));
    }
    for (var at = invocation_index; at < TILE_VALUE_CHUNKS; at += INVOCATIONS) {
        let row = min(j + at / VALUE_CHUNKS, streamed_rows() - 1u);
        let x = stream_value(v_head, row, at % VALUE_CHUNKS);
        value_tile[at] = staged(stage_finite(x, masked, j, at / VALUE_CHUNKS, low, high));
    }
    workgroupBarrier();
}

// x, or 0 and a mark for row `n` of the tile where x is no finite number and its step has masked pairs.
fn stage_finite(x: vec4<f32>, masked: bool, j: u32, n: u32, low: Interval, high: Interval) -> vec4<f32> {
    let step = j + n / KEYS * KEYS;
    let spoilt = masked && not_finite(x) && !all_visible(low, high, step, step + KEYS - 1u);
    if (spoilt) { atomicOr(&spoils, 1u << n); }
    return select(x, vec4<f32>(), spoilt);
}

fn staged(x: vec4<f32>) -> Staged {
    @if(wide) return widen(bitcast<vec4<u32>>(x));
    @if(!wide) return x;
}

fn unstaged(x: Staged) -> vec4<f32> {
    @if(wide) return bitcast<vec4<f32>>(narrow(x));
    @if(!wide) return x;
}

// Where in its tile the 4-vector of the step's first key lies.
alias Shared = u32;

fn share_key(at: Shared, c: u32) -> vec4<f32> {
    return unstaged(key_tile[at + c * CHUNKS]);
}

fn share_value(at: Shared, c: u32) -> vec4<f32> {
    return unstaged(value_tile[at + c * VALUE_CHUNKS]);
}

// Bit c: value `key` + c spoils the rows that see it.
fn staged_spoils(key: u32) -> u32 {
    return atomicLoad(&spoils) >> key;
}

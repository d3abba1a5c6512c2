// Keys live in workgroup memory: all invocations stage a tile of keys and values, then each reads every one of them.

var<workgroup> key_tile: array<Staged, TILE_CHUNKS>;
var<workgroup> value_tile: array<Staged, TILE_VALUE_CHUNKS>;
// Bit n: value n is no finite number in a step that has masked keys; it is staged as 0. Two words take turns, so that
// one is emptied while the other is filled.
var<workgroup> spoils: array<atomic<u32>, 2>;

var<private> invocation_index: u32 = 0u;
// Which word is the tile's.
var<private> spoils_turn: u32 = 0u;

fn start_strategy(invocation: u32) {
    invocation_index = invocation;
    if (invocation == 0u) { atomicStore(&spoils[1], 0u); }
}

// Stages keys and values j … j + TILE − 1, in uniform control flow, for rows from the one that sees `low` to the one
// that sees `high`; `partial` where masks by pair hide some. The kernel says with stream_key and stream_value what a
// key and a value are.
fn stage_tile(b: u32, k_head: u32, v_head: u32, j: u32, low: Interval, high: Interval, partial: bool) {
    let masked = partial || !all_visible(low, high, j, j + TILE - 1u);
    workgroupBarrier();
    spoils_turn ^= 1u;
    if (invocation_index == 0u) { atomicStore(&spoils[spoils_turn ^ 1u], 0u); }
    for (var at = invocation_index; at < TILE_CHUNKS; at += INVOCATIONS) {
        let row = min(j + at / CHUNKS, streamed_rows() - 1u);
        let x = stream_key(b, k_head, row, at % CHUNKS);
        @if(!gradient) key_tile[at] = staged(x);
        // A gradient multiplies keys as well as values by weights that are 0 where a pair is masked.
        @if(gradient) key_tile[at] = staged(stage_finite(x, masked, partial, j, at / CHUNKS, low, high));
    }
    for (var at = invocation_index; at < TILE_VALUE_CHUNKS; at += INVOCATIONS) {
        let row = min(j + at / VALUE_CHUNKS, streamed_rows() - 1u);
        let x = stream_value(v_head, row, at % VALUE_CHUNKS);
        value_tile[at] = staged(stage_finite(x, masked, partial, j, at / VALUE_CHUNKS, low, high));
    }
    workgroupBarrier();
}

// x, or 0 and a mark for row `n` of the tile where x is no finite number and its step has masked pairs.
fn stage_finite(x: Chunk, masked: bool, partial: bool, j: u32, n: u32, low: Interval, high: Interval) -> Chunk {
    let step = j + n / KEYS * KEYS;
    let spoilt = masked && is_unbounded(x) && (partial || !all_visible(low, high, step, step + KEYS - 1u));
    if (spoilt) { atomicOr(&spoils[spoils_turn], 1u << n); }
    return select_chunk(x, Chunk(), spoilt);
}

// Where in its tile the chunk of the step's first key lies.
alias Shared = u32;

// The whole chunk is the one piece.
fn share_key(at: Shared, c: u32, piece: u32) -> Chunk {
    return unstaged(key_tile[at + c * CHUNKS]);
}

fn share_value(at: Shared, c: u32, piece: u32) -> Chunk {
    return unstaged(value_tile[at + c * VALUE_CHUNKS]);
}

// Bit c: value `key` + c spoils the rows that see it.
fn staged_spoils(key: u32) -> u32 {
    return atomicLoad(&spoils[spoils_turn]) >> key;
}

// Keys live in workgroup memory: all invocations stage a tile of keys and values, then each reads every one of them.

var<workgroup> key_tile: array<vec4<f32>, TILE_CHUNKS>;
var<workgroup> value_tile: array<vec4<f32>, TILE_VALUE_CHUNKS>;
// Bit n: value n is no finite number in a tile that has masked keys; it is staged as 0.
var<workgroup> spoils: atomic<u32>;

var<private> invocation_index: u32;

fn start_strategy(invocation: u32) {
    invocation_index = invocation;
}

// Stages keys and values j … j + TILE − 1, in uniform control flow.
fn stage_tile(k_head: u32, v_head: u32, j: u32, masked: bool) {
    workgroupBarrier();
    if (invocation_index == 0u) { atomicStore(&spoils, 0u); }
    workgroupBarrier();
    @unroll for (var n = 0u; n < KEY_LOADS; n++) {
        let at = n * INVOCATIONS + invocation_index;
        let row = min(j + at / CHUNKS, params.kv_len - 1u);
        if (at < TILE_CHUNKS) { key_tile[at] = k_chunk(k_head + row * params.k.row, at % CHUNKS); }
    }
    @unroll for (var n = 0u; n < VALUE_LOADS; n++) {
        let at = n * INVOCATIONS + invocation_index;
        let row = min(j + at / VALUE_CHUNKS, params.kv_len - 1u);
        if (at < TILE_VALUE_CHUNKS) {
            let x = v_chunk(v_head + row * params.v.row, at % VALUE_CHUNKS);
            let spoilt = masked && not_finite(x);
            if (spoilt) { atomicOr(&spoils, 1u << (at / VALUE_CHUNKS)); }
            value_tile[at] = select(x, vec4<f32>(), spoilt);
        }
    }
    workgroupBarrier();
}

fn staged_key(key: u32, chunk: u32) -> vec4<f32> {
    return key_tile[key * CHUNKS + chunk];
}

fn staged_value(key: u32, chunk: u32) -> vec4<f32> {
    return value_tile[key * VALUE_CHUNKS + chunk];
}

// Bit c: value `key` + c spoils the rows that see it.
fn staged_spoils(key: u32) -> u32 {
    return atomicLoad(&spoils) >> key;
}

// A chunk: the channels that are loaded and staged together, in fours. QUADS is 1; but software adapters load a lane at
// a time, whatever it holds, so `wide` makes it 2: as f32, four words of 64 bits.

alias Chunk = array<vec4<f32>, QUADS>;

// A chunk in workgroup memory, and in an f32 tensor of aligned rows.
@if(!wide) alias Staged = vec4<f32>;
@if(wide) alias Staged = vec4<u64>;

@if(!wide) fn staged(x: Chunk) -> Staged { return x[0]; }
@if(wide) fn staged(x: Chunk) -> Staged {
    let low = bitcast<vec4<u32>>(x[0]);
    let high = bitcast<vec4<u32>>(x[1]);
    return vec4<u64>(joined(low.xy), joined(low.zw), joined(high.xy), joined(high.zw));
}

@if(!wide) fn unstaged(x: Staged) -> Chunk { return Chunk(x); }
@if(wide) fn unstaged(x: Staged) -> Chunk {
    let low = vec4<u32>(halves(x.x), halves(x.y));
    let high = vec4<u32>(halves(x.z), halves(x.w));
    return Chunk(bitcast<vec4<f32>>(low), bitcast<vec4<f32>>(high));
}

@if(wide) fn joined(x: vec2<u32>) -> u64 { return u64(x.x) | (u64(x.y) << 32u); }
@if(wide) fn halves(x: u64) -> vec2<u32> { return vec2<u32>(u32(x), u32(x >> 32u)); }

// What an input's rows give for a chunk.
@if(!wide) fn loaded(x: vec4<f32>) -> Chunk { return Chunk(x); }
@if(wide) fn loaded(x: Chunk) -> Chunk { return x; }

fn scaled(x: Chunk, scale: f32) -> Chunk {
    var y = Chunk();
    @unroll for (var n = 0u; n < QUADS; n++) { y[n] = scale * x[n]; }
    return y;
}

fn sum_of(x: Chunk, y: Chunk) -> Chunk {
    var z = Chunk();
    @unroll for (var n = 0u; n < QUADS; n++) { z[n] = x[n] + y[n]; }
    return z;
}

fn select_chunk(x: Chunk, y: Chunk, second: bool) -> Chunk {
    var z = Chunk();
    @unroll for (var n = 0u; n < QUADS; n++) { z[n] = select(x[n], y[n], second); }
    return z;
}

fn is_unbounded(x: Chunk) -> bool {
    var unbounded = false;
    @unroll for (var n = 0u; n < QUADS; n++) { unbounded = unbounded || not_finite(x[n]); }
    return unbounded;
}

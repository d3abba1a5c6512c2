// A chunk: the channels that are loaded and staged together, as vec4. VEC4S is 1; but software adapters load a lane at
// a time, whatever it holds, so `vec8` makes it 2: as f32, four words of 64 bits.

alias Chunk = array<vec4<f32>, VEC4S>;

// A chunk in workgroup memory, and in an f32 tensor of aligned rows.
@if(!vec8) alias Staged = vec4<f32>;
@if(vec8) alias Staged = vec4<u64>;

@if(!vec8) fn staged(x: Chunk) -> Staged { return x[0]; }
@if(vec8) fn staged(x: Chunk) -> Staged {
    let low = bitcast<vec4<u32>>(x[0]);
    let high = bitcast<vec4<u32>>(x[1]);
    return vec4<u64>(joined(low.xy), joined(low.zw), joined(high.xy), joined(high.zw));
}

@if(!vec8) fn unstaged(x: Staged) -> Chunk { return Chunk(x); }
@if(vec8) fn unstaged(x: Staged) -> Chunk {
    let low = vec4<u32>(halves(x.x), halves(x.y));
    let high = vec4<u32>(halves(x.z), halves(x.w));
    return Chunk(bitcast<vec4<f32>>(low), bitcast<vec4<f32>>(high));
}

@if(vec8) fn joined(x: vec2<u32>) -> u64 { return u64(x.x) | (u64(x.y) << 32u); }
@if(vec8) fn halves(x: u64) -> vec2<u32> { return vec2<u32>(u32(x), u32(x >> 32u)); }

// What an input's rows give for a chunk.
@if(!vec8) fn loaded(x: vec4<f32>) -> Chunk { return Chunk(x); }
@if(vec8) fn loaded(x: Chunk) -> Chunk { return x; }

fn scaled(x: Chunk, scale: f32) -> Chunk {
    var y = Chunk();
    @unroll for (var n = 0u; n < VEC4S; n++) { y[n] = scale * x[n]; }
    return y;
}

fn sum_of(x: Chunk, y: Chunk) -> Chunk {
    var z = Chunk();
    @unroll for (var n = 0u; n < VEC4S; n++) { z[n] = x[n] + y[n]; }
    return z;
}

fn select_chunk(x: Chunk, y: Chunk, second: bool) -> Chunk {
    var z = Chunk();
    @unroll for (var n = 0u; n < VEC4S; n++) { z[n] = select(x[n], y[n], second); }
    return z;
}

// A chunk of a row, or 0 past the row's end. No branch: a text of many ran SwiftShader's compiler out of memory.
fn within(x: Chunk, is_within: bool) -> Chunk { return select_chunk(Chunk(), x, is_within); }

fn is_nonfinite(x: Chunk) -> bool {
    var nonfinite = false;
    @unroll for (var n = 0u; n < VEC4S; n++) { nonfinite = nonfinite | any_nonfinite(x[n]); }
    return nonfinite;
}

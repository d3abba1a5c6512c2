// A chunk: the channels that are loaded, staged and multiplied together. Eight, as four words of 64 bits: software
// adapters load a lane at a time, whatever it holds.

alias Chunk = mat2x4<f32>;
// As it lies in workgroup memory, and in an f32 tensor.
alias Staged = vec4<u64>;

fn staged(x: Chunk) -> Staged {
    let low = bitcast<vec4<u32>>(x[0]);
    let high = bitcast<vec4<u32>>(x[1]);
    return vec4<u64>(joined(low.xy), joined(low.zw), joined(high.xy), joined(high.zw));
}

fn unstaged(x: Staged) -> Chunk {
    return Chunk(bitcast<vec4<f32>>(vec4<u32>(halves(x.x), halves(x.y))), bitcast<vec4<f32>>(vec4<u32>(halves(x.z), halves(x.w))));
}

fn joined(x: vec2<u32>) -> u64 { return u64(x.x) | (u64(x.y) << 32u); }
fn halves(x: u64) -> vec2<u32> { return vec2<u32>(u32(x), u32(x >> 32u)); }

fn chunk_of(x: f32) -> Chunk { return Chunk(vec4<f32>(x), vec4<f32>(x)); }
fn dot_chunks(x: Chunk, y: Chunk) -> f32 { return dot(x[0], y[0]) + dot(x[1], y[1]); }
fn is_unbounded(x: Chunk) -> bool { return not_finite(x[0]) || not_finite(x[1]); }
fn select_chunk(x: Chunk, y: Chunk, second: bool) -> Chunk { return Chunk(select(x[0], y[0], second), select(x[1], y[1], second)); }

// Its n-th four channels.
fn quad(x: Chunk, n: u32) -> vec4<f32> { return select(x[0], x[1], n == 1u); }

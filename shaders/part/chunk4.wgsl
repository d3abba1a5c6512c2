// A chunk: the channels that are loaded, staged and multiplied together. Four, as any adapter loads them.

alias Chunk = vec4<f32>;
// As it lies in workgroup memory.
alias Staged = vec4<f32>;

fn staged(x: Chunk) -> Staged { return x; }
fn unstaged(x: Staged) -> Chunk { return x; }

fn chunk_of(x: f32) -> Chunk { return Chunk(x); }
fn dot_chunks(x: Chunk, y: Chunk) -> f32 { return dot(x, y); }
fn is_unbounded(x: Chunk) -> bool { return not_finite(x); }
fn select_chunk(x: Chunk, y: Chunk, second: bool) -> Chunk { return select(x, y, second); }

// Its n-th four channels.
fn quad(x: Chunk, n: u32) -> vec4<f32> { return x; }
